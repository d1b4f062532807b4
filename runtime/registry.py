"""Which processor and service types this node has, and where each came from.

Types are found by entry point (group `levada.processors`: a module or package whose public
classes count) and as files in the extensions directories, which is looked at again while the node
runs. A name that two places offer belongs to the one that was there first; the other is reported.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from runtime.processor import ControllerService, Processor

Declared = type[Processor] | type[ControllerService]


@dataclass(frozen=True)
class Extension:
    """One type and its origin: a distribution's module, or a file."""

    type: Declared
    origin: str


@dataclass(frozen=True)
class ExtensionProblem:
    """A file or module that could not be used."""

    origin: str
    message: str


class Registry:
    """The known types by simple name (`RouteOnAttribute`)."""

    def __init__(
        self, modules: Iterable[str] | None = None, directories: Sequence[Path] = ()
    ) -> None:
        """`modules` None: what the installed entry points name."""
        self._types: dict[str, Extension] = {}
        self._files: dict[Path, float] = {}
        self._directories = tuple(directories)
        self.problems: list[ExtensionProblem] = []
        for name in modules if modules is not None else _entry_points():
            self._add_package(name)
        self.refresh()

    def processors(self) -> dict[str, type[Processor]]:
        """Return the processor types by name, sorted."""
        return {
            name: one.type
            for name, one in sorted(self._types.items())
            if issubclass(one.type, Processor)
        }

    def services(self) -> dict[str, type[ControllerService]]:
        """Return the controller service types by name, sorted."""
        return {
            name: one.type
            for name, one in sorted(self._types.items())
            if issubclass(one.type, ControllerService)
        }

    def processor(self, name: str) -> type[Processor] | None:
        """Find a processor by its simple or qualified name (`org...RouteOnAttribute`)."""
        found = self._types.get(name.rpartition(".")[2])
        return found.type if found and issubclass(found.type, Processor) else None

    def service(self, name: str) -> type[ControllerService] | None:
        """Find a controller service by its simple or qualified name."""
        found = self._types.get(name.rpartition(".")[2])
        return found.type if found and issubclass(found.type, ControllerService) else None

    def origin(self, name: str) -> str:
        """Return where a type came from."""
        return self._types[name].origin

    def closest(self, name: str) -> str | None:
        """Return the type that was probably meant."""
        names = {known.lower(): known for known in self._types}
        near = difflib.get_close_matches(name.lower(), names, n=1)
        return names[near[0]] if near else None

    def add(self, *types: Declared, origin: str = "given by the program") -> None:
        """Add types directly, as tests and programs do."""
        for type in types:
            self._types[type.__name__] = Extension(type, origin)

    def refresh(self) -> list[str]:
        """Load new and changed files of the extensions directories; return the types loaded."""
        loaded: list[str] = []
        for path in (one for each in self._directories for one in sorted(each.glob("*.py"))):
            try:
                changed = path.stat().st_mtime
            except FileNotFoundError:
                continue  # Removed since the directory was read.
            if self._files.get(path) != changed:
                self._files[path] = changed
                loaded += self._add_file(path)
        return loaded

    def _add_package(self, name: str) -> None:
        try:
            module = importlib.import_module(name)
            self._add_types(module, name)
            for part in pkgutil.iter_modules(getattr(module, "__path__", []), name + "."):
                self._add_types(importlib.import_module(part.name), part.name)
        # Somebody else's code, which may even try to exit: name it and go on without it.
        except (Exception, SystemExit) as error:
            self.problems.append(ExtensionProblem(name, f"{type(error).__name__}: {error}"))

    def _add_file(self, path: Path) -> list[str]:
        name = f"levada_extensions.{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        self.problems = [one for one in self.problems if one.origin != str(path)]
        try:
            spec.loader.exec_module(module)
        # Somebody else's code, which may even try to exit: name it and go on without it.
        except (Exception, SystemExit) as error:
            self.problems.append(ExtensionProblem(str(path), f"{type(error).__name__}: {error}"))
            return []
        return self._add_types(module, str(path))

    def _add_types(self, module: ModuleType, origin: str) -> list[str]:
        added = []
        for name, value in vars(module).items():
            if not _is_declared(value, module) or name.startswith("_"):
                continue
            known = self._types.get(value.__name__)
            if known and known.origin != origin:
                message = f"offers {value.__name__}, which {known.origin} has; it is left out"
                self.problems.append(ExtensionProblem(origin, message))
                continue
            self._types[value.__name__] = Extension(value, origin)
            added.append(value.__name__)
        return added


def _entry_points() -> list[str]:
    names = {point.value for point in entry_points(group="levada.processors")}
    # The built-in ones come first, so that nobody shadows them by accident.
    return sorted(names, key=lambda name: (name != "processors", name))


def _is_declared(value: object, module: ModuleType) -> bool:
    return (
        inspect.isclass(value)
        and issubclass(value, Processor | ControllerService)
        and value.__module__ == module.__name__
        and value not in (Processor, ControllerService)
    )
