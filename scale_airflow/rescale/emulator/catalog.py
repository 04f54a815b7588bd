# SPDX-License-Identifier: Apache-2.0
"""Hardware, prices, software and projects that the emulator offers: made up, in the service's form."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any


@dataclass(frozen=True)
class CoreType:
    """A kind of machine.

    :param memory: MB a core; :param storage: GB; :param price: US dollars a core and hour.
    """

    code: str
    name: str
    cores: tuple[int, ...]
    categories: tuple[str, ...]
    processor: str
    price: str
    memory: int
    storage: int = 80
    gpus: tuple[float, ...] = (0.0,)
    is_deprecated: bool = False

    @property
    def node_cores(self) -> int:
        """Return the cores of one machine; a slot with more has several."""
        return next((one for one in self.cores if one >= 36), max(self.cores))

    def to_document(self, order: int) -> dict[str, Any]:
        """Return the form of the answer."""
        return {
            "code": self.code,
            "name": self.name,
            "cores": list(self.cores),
            "categoryCodes": list(self.categories),
            "processorInfo": self.processor,
            "price": self.price,
            "lowPriorityPrice": str(economy_price(self)),
            "memory": self.memory,
            "storage": self.storage,
            "io": "10 Gb/s",
            "hasSsd": True,
            "isDeprecated": self.is_deprecated,
            "isPrimary": order < 8,
            "displayOrder": order,
            "walltimeRequired": False,
            "remoteVizAllowed": self.gpus != (0.0,),
            "gpuCounts": list(self.gpus),
            "isActive": not self.is_deprecated,
        }


def economy_price(core_type: CoreType) -> Decimal:
    """Return the price of a core and hour of On-Demand Economy."""
    return (Decimal(core_type.price) * Decimal("0.45")).quantize(Decimal("0.0001"))


_SMALL = (1, 2, 4, 8, 16)
_EVEN = (2, 4, 8, 16, 32, 48, 96)
_LARGE = (4, 8, 16, 36, 72, 144, 288)

CORE_TYPES: tuple[CoreType, ...] = (
    CoreType("emerald_max", "Emerald Max", _LARGE, ("general", "hpc"), "Intel Xeon 8375C", "0.1100", 4000),
    CoreType("granite", "Granite", _EVEN, ("general",), "AMD EPYC 7R32", "0.0400", 2000),
    CoreType("onyx", "Onyx", (*_SMALL, 18, 36), ("general",), "Intel Xeon E5-2666 v3", "0.0700", 3750),
    CoreType("ferrite", "Ferrite", _EVEN, ("general",), "Intel Xeon 8275CL", "0.0600", 4000),
    CoreType("marble", "Marble", _SMALL, ("memory",), "Intel Xeon E5-2686 v4", "0.0900", 7500),
    CoreType("obsidian", "Obsidian", _EVEN, ("memory",), "AMD EPYC 7571", "0.0950", 15250),
    CoreType("carbon", "Carbon", (36, 72, 108, 144), ("hpc",), "Intel Xeon 8124M", "0.1250", 3900, 900),
    CoreType("jasper", "Jasper", (8, 16, 32), ("gpu",), "Intel Xeon 8259CL, T4", "0.3000", 4000, 225, (1.0,)),
    CoreType("dolomite", "Dolomite", _SMALL, ("general",), "AMD EPYC 7B12", "0.0550", 4000),
    CoreType("nickel", "Nickel", (44, 88, 176), ("hpc",), "Intel Xeon 8168", "0.1150", 8000),
    CoreType("mica", "Mica", (60, 120, 240), ("hpc",), "AMD EPYC 7551", "0.0800", 4000),
    CoreType("quartz", "Quartz", (120, 240, 480), ("hpc",), "AMD EPYC 7V12", "0.0750", 3800),
    CoreType(
        "amber", "Amber", (8, 32, 64), ("gpu",), "Intel Xeon E5-2686 v4, V100", "0.8000", 7625, 80, (1.0, 4.0)
    ),
    CoreType("hpc-3", "HPC 3", (1, 2, 4, 8, 16, 32), ("hpc",), "Intel Xeon E5-2666 v3", "0.1600", 3750),
    CoreType("standard", "Standard", _SMALL, ("general",), "Intel Xeon", "0.1200", 1875, 4),
    CoreType("standard-plus", "Standard+", _SMALL, ("general",), "Intel Xeon", "0.1500", 3750, 4),
    CoreType("hi-io", "HI-IO", _SMALL, ("storage",), "Intel Xeon", "0.2500", 7625, 800),
    CoreType("hi-io-plus", "HI-IO+", _SMALL, ("storage",), "Intel Xeon", "0.2800", 7625, 1600),
    CoreType("hi-mem", "HI-MEM", _SMALL, ("memory",), "Intel Xeon", "0.2000", 7625),
    CoreType("hi-mem-hpc", "HI-MEM HPC", (16, 32, 64), ("memory", "hpc"), "Intel Xeon", "0.2400", 15250, 240),
    CoreType("lo-mem", "LO-MEM", _SMALL, ("general",), "Intel Xeon", "0.1300", 900, 4),
    CoreType("hpc", "HPC", (8, 16, 32), ("hpc",), "Intel Xeon E5-2670", "0.1800", 3750, is_deprecated=True),
    CoreType("hpc-plus", "HPC+", (8, 16, 32), ("hpc",), "Intel Xeon", "0.1900", 3750, 80, is_deprecated=True),
)
CORE_TYPES_BY_CODE = {one.code: one for one in CORE_TYPES}


def prices() -> list[dict[str, Any]]:
    """Return the bare list of compute prices."""
    return [
        {
            "coreType": core_type.code,
            "planType": plan,
            "os": system,
            "isActive": not core_type.is_deprecated,
            "value": {"amount": str(price * factor), "currency": "USD"},
        }
        for core_type in CORE_TYPES
        for plan, price in (
            ("instant", Decimal(core_type.price)),
            # Of On-Demand Economy, as the tutorial reads it.
            ("economy-on-demand", economy_price(core_type)),
        )
        for system, factor in (("windows", 2), ("linux", 1))
    ]


@dataclass(frozen=True)
class Software:
    """An analysis: software that a job can use.

    :param versions: (version as shown, version code as jobs name it).
    :param core_types: codes that it may run on; empty: all.
    """

    code: str
    name: str
    versions: tuple[tuple[str, str], ...]
    vendor: str = ""
    core_types: tuple[str, ...] = ()
    license_variables: tuple[str, ...] = ()
    has_rescale_license: bool = False
    interactive: bool = False

    def version_name(self, version_code: str) -> str | None:
        """Return the shown name of a version, None when there is no such version."""
        return next((shown for shown, code in self.versions if code == version_code), None)

    def allowed_core_types(self) -> list[str]:
        """Return the codes of the hardware that it may run on."""
        return list(self.core_types) or [one.code for one in CORE_TYPES if not one.is_deprecated]

    def to_document(self) -> dict[str, Any]:
        """Return the form of the answer."""
        command = f"{self.code} <input-file>"
        return {
            "code": self.code,
            "name": self.name,
            "description": f"<p>{self.name}</p>",
            "versions": [
                {
                    "version": shown,
                    "versionCode": code,
                    "allowedCoreTypes": self.allowed_core_types(),
                    "stdCommand": command,
                    "mpiCommand": f"mpirun -np <mpi-ranks> {command}",
                    "smpCommand": command,
                    "eula": None,
                }
                for shown, code in self.versions
            ],
            "industries": [{"name": "Aerospace", "icon": ""}, {"name": "Automotive", "icon": ""}],
            "supportDesks": [
                {"code": "rescale", "displayName": "Rescale Support", "email": "support@example.com"}
            ],
            "hasRescaleLicense": self.has_rescale_license,
            "licenseSettings": [
                {
                    "name": name,
                    "label": name,
                    "licenseType": "user",
                    "isServer": True,
                    "helpText": "port@host",
                }
                for name in self.license_variables
            ],
            "vendorName": self.vendor,
            "pricing": "",
            "optimizerType": None,
            "thumbnail": "",
            "resources": [],
        }


_ANSYS = ("ANSYSLI_SERVERS", "ANSYSLMD_LICENSE_FILE")
_FOAM = ("2.3.0", "2.2.2", "2.2.0", "2.1.1")
_OLD = (
    "hi-io",
    "hi-io-plus",
    "hi-mem",
    "hi-mem-hpc",
    "hpc",
    "hpc-plus",
    "lo-mem",
    "standard",
    "standard-plus",
)


def _same(*versions: str) -> tuple[tuple[str, str], ...]:
    return tuple((one, one) for one in versions)


ANALYSES: tuple[Software, ...] = (
    Software("user_included", "Bring Your Own Software", (("CPU", "0"), ("GPU", "gpu"))),
    Software(
        "openfoam",
        "OpenFOAM",
        tuple((one, f"{one}-openmpi") for one in _FOAM),
        core_types=(*_OLD, "granite", "emerald_max", "onyx", "hpc-3"),
    ),
    Software("ls_dyna", "LS-DYNA", (("R9.0.0", "9.0.0"), ("R12.0", "12.0")), "Ansys", (), _ANSYS, True),
    Software(
        "ansys_fluent", "Ansys Fluent", (("2019 R1", "2019r1"), ("2023 R1", "2023r1")), "Ansys", (), _ANSYS
    ),
    Software("ansys_mechanical", "Ansys Mechanical", _same("2019r1", "2023r1"), "Ansys", (), _ANSYS),
    Software(
        "abaqus", "Abaqus", _same("2020", "2022"), "Dassault Systemes", (), ("LM_LICENSE_FILE",), True, True
    ),
    Software(
        "starccm", "Simcenter STAR-CCM+", _same("16.02", "17.04"), "Siemens", (), ("CDLMD_LICENSE_FILE",)
    ),
    Software("converge", "CONVERGE", _same("2.4", "3.0"), "Convergent Science"),
    Software("gromacs", "GROMACS", _same("2020.4", "2022.1")),
    Software("lammps", "LAMMPS", _same("29Oct20", "23Jun22")),
    Software("namd", "NAMD", _same("2.14")),
    Software("su2", "SU2", _same("7.0.8", "7.3.0")),
    Software("code_aster", "Code_Aster", _same("14.6")),
    Software("tensorflow", "TensorFlow", _same("2.4", "2.9"), core_types=("jasper", "amber")),
    Software("matlab", "MATLAB", _same("r2021a", "r2022b"), "MathWorks", (), ("MLM_LICENSE_FILE",)),
)
ANALYSES_BY_CODE = {one.code: one for one in ANALYSES}

PROJECTS: tuple[dict[str, str], ...] = tuple(
    {"id": f"pr{letter}", "name": name}
    for letter, name in zip(
        "ABCDEFGHIJKL",
        (
            *("Terrain", "Hydrology", "Vegetation", "Coast", "Urban", "Glaciers", "Soil", "Roads", "Rivers"),
            *("Forests", "Harbours", "Calibration"),
        ),
        strict=True,
    )
)


def is_project(project_id: object) -> bool:
    """Tell whether there is a project with this id."""
    return any(one["id"] == project_id for one in PROJECTS)


REGIONS: tuple[dict[str, str], ...] = (
    {"id": "pCTMk", "name": "us-east-1"},
    {"id": "OLjea", "name": "ap-northeast-2"},
)

ORGANIZATION = "demo-company"
WORKSPACE = "demo-workspace"
