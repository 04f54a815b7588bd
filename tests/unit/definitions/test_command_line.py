# SPDX-License-Identifier: Apache-2.0
"""Command lines: split first, substituted then, values byte for byte in one argument."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scale_airflow.definitions.command_line import CommandTemplate, split_words
from scale_airflow.errors import InvalidDocument

HOSTILE = [
    "",
    " ",
    "a b",
    "'",
    '"',
    "$x",
    "${image}",
    "$(id)",
    "`id`",
    "; rm -rf /",
    "a\nb",
    "{{ ds }}",
    "{% raw %}",
    "\\",
    "-x",
    "#",
]
any_text = st.one_of(st.sampled_from(HOSTILE), st.text())
names = st.text("abcXYZ019-_ ", min_size=1, max_size=10)


def render(text: str, **values: str | None) -> list[str]:
    return CommandTemplate.parse(text).render(values)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("  \t\n ", []),
        ("a b", ["a", "b"]),
        ("'a b' \"c d\"", ["a b", "c d"]),
        ("a'b c'd", ["ab cd"]),
        ("''", [""]),
        ("a\\ b \\'", ["a b", "'"]),
        ('"a\\"b" "a\\\\b" "a\\nb"', ['a"b', "a\\b", "a\\nb"]),
        (
            "a # b ; c | d > e && f * ~ $HOME `x` $(y)",
            shlex.split("a '#' b ';' c '|' d '>' e '&&' f '*' '~' '$HOME' '`x`' '$(y)'"),
        ),
        ("{{ ds }} %s", ["{{", "ds", "}}", "%s"]),
        ("\\${image} '$'{image}", ["${image}", "${image}"]),
        ('"\\${image}"', ["${image}"]),
        ("$ $x {x} }", ["$", "$x", "{x}", "}"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert render(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${image}", ["V"]),
        ("${image} ${image}${image}", ["V", "VV"]),
        ("a${image}b", ["aVb"]),
        ("'${image}' \"${image}\"", ["V", "V"]),
        ("${-i :image}", ["-i", "V"]),
        ("${-i   :image}", ["-i", "V"]),
        ("${-i:image}", ["-iV"]),
        ("${--in=:image}", ["--in=V"]),
        ("${:image}", ["V"]),
        ("${ :image}", ["V"]),
        ("${a:b :image}", ["a:b", "V"]),
        ("${two words:image}", ["two wordsV"]),
        ("x${-i :image}y", ["x-i", "Vy"]),
        ("${-i 'q\" :image}", ["-i 'q\"", "V"]),
        ("'${-i :image}'", ["-i", "V"]),
    ],
)
def test_placeholders(text: str, expected: list[str]) -> None:
    assert render(text, image="V") == expected


def test_names_may_contain_spaces() -> None:
    assert render("${-i :Job Exe ID} ${Job Exe ID}", **{"Job Exe ID": "5"}) == ["-i", "5", "5"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a ${image} b", ["a", "b"]),
        ("a ${-i :image} b", ["a", "b"]),
        ("a '${image}' b", ["a", "b"]),
        ("${image}${image}", []),
        ("--in=${image}", ["--in="]),
        ("${image}${given}", ["G"]),
        ("'' ${image}", [""]),
    ],
)
def test_what_was_not_given_vanishes(text: str, expected: list[str]) -> None:
    assert render(text, image=None, given="G") == expected
    assert render(text, given="G") == expected


def test_an_empty_value_is_an_empty_argument() -> None:
    assert render("a ${image} b", image="") == ["a", "", "b"]


@given(any_text, any_text)
def test_a_value_arrives_byte_for_byte_in_exactly_one_argument(first: str, second: str) -> None:
    template = CommandTemplate.parse("run ${a} '-x'${-f :b} p${c:a}q")
    assert template.render({"a": first, "b": second}) == ["run", first, "-x-f", second, f"pc{first}q"]


@given(names, st.text().filter(lambda flag: "}" not in flag), any_text)
@example("a", "-i ", "x")
def test_any_flag_is_put_before_the_value(name: str, flag: str, value: str) -> None:
    arguments = CommandTemplate.parse(f"${{{flag}:{name}}}").render({name: value})
    if not flag.endswith(" "):
        assert arguments == [flag + value]
    else:
        assert arguments == [each for each in [flag.rstrip(" ")] if each] + [value]


@given(st.text("ab'\" \\$\n\t#", max_size=20).filter(lambda text: "${" not in text))
def test_without_placeholders_it_splits_like_a_posix_shell(text: str) -> None:
    try:
        expected = shlex.split(text)
    except ValueError:
        with pytest.raises(InvalidDocument):
            CommandTemplate.parse(text)
        with pytest.raises(ValueError, match="can't be split"):
            split_words(text)
    else:
        assert render(text) == expected
        assert split_words(text) == expected


@given(st.text("ab'\"\\${}: \n", max_size=30))
def test_any_text_is_split_or_refused(text: str) -> None:
    try:
        template = CommandTemplate.parse(text)
    except InvalidDocument:
        return
    assert [text[each.start : each.end][0:2] for each in template.placeholders()] == ["${"] * len(
        template.placeholders()
    )
    template.render(dict.fromkeys(template.names(), "v"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a 'b", "The quote ' at character 3 is not closed."),
        ('"', 'The quote " at character 1 is not closed.'),
        ("a ${b", 'The "${" at character 3 is not closed by a "}".'),
        ("a\\", "The text ends in a backslash, which has nothing to escape."),
    ],
)
def test_what_is_not_closed_is_told(text: str, message: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        CommandTemplate.parse(text)
    assert [fault.message for fault in caught.value.faults] == [message]


def test_names_in_order() -> None:
    assert CommandTemplate.parse("${b} ${-x :a} ${job_output_dir} ${b}").names() == (
        "b",
        "a",
        "job_output_dir",
    )


def test_a_text_for_people_keeps_what_is_not_known_yet() -> None:
    template = CommandTemplate.parse("run ${days} '${-i :image}' ${x:rest}  \\${days} ${job_output_dir}")
    shown = template.render_text({"days": "a b", "rest": None, "image": "${days}"})
    assert shown == "run a b '-i ${days}'   \\${days} ${job_output_dir}"
    assert template.render_text({}) == template.text
