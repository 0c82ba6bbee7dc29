"""Finding services: from `MODULE[:ATTR]` on the command line to the objects that declare them.

A module is a dotted path or a .py file. Importing it runs the user's code, so whatever that raises
becomes one sentence that says where.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType

from howdah import Service, VirtualObject, Workflow
from howdah.errors import DuplicateName, HowdahError, UsageError
from howdah.options import did_you_mean
from howdah.service import Bundle

Declared = Service | VirtualObject | Workflow


def load_services(targets: Iterable[str]) -> list[Declared]:
    """Import modules and collect the services that they hold.

    Args:
        targets: Each `MODULE`, `MODULE:ATTR`, `FILE.py` or `FILE.py:ATTR`. ATTR names a service, a
            list of them, or an app. Without it every service in the module counts; or, when the
            module has an app, every service of that.

    Raises:
        UsageError: a module cannot be imported, or holds no service, or not that one.
        DuplicateName: two services have one name.
        IncompleteWorkflow: a workflow has no main handler.
    """
    found: list[Declared] = []
    for target in targets:
        module_name, attribute = split_target(target)
        module = _import(module_name)
        for service in _services_of(module, module_name, attribute):
            if not any(service is other for other in found):
                found.append(service)
    return checked(found)


def checked(services: Iterable[Declared]) -> list[Declared]:
    """Return services that can be served together.

    Raises:
        DuplicateName: two services have one name.
        IncompleteWorkflow: a workflow has no main handler.
    """
    names: dict[str, Declared] = {}
    for service in services:
        if service.name in names:
            raise DuplicateName(what="service", name=service.name, where="This program")
        names[service.name] = service
        service.check_complete()
    return list(names.values())


def split_target(target: str) -> tuple[str, str | None]:
    """Split `MODULE[:ATTR]`; a colon that is part of a path stays with it."""
    module, colon, attribute = target.rpartition(":")
    if colon and module and attribute.isidentifier():
        return module, attribute
    return target, None


def watched_folders(targets: Iterable[str]) -> list[Path]:
    """The folders whose files make up these modules, for reloading on change."""
    folders = set()
    for target in targets:
        name, _ = split_target(target)
        folders.add(Path(name).resolve().parent if _is_file(name) else Path.cwd())
    return sorted(folders)


def _is_file(name: str) -> bool:
    return name.endswith(".py") or "/" in name


def _import(name: str) -> ModuleType:
    try:
        return _import_file(Path(name)) if _is_file(name) else _import_dotted(name)
    except HowdahError:
        raise
    except Exception as error:
        raise UsageError(
            f"{name} cannot be imported: {type(error).__name__}: {error}{_where(error)}"
        ) from error


def _import_dotted(name: str) -> ModuleType:
    _search_first(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise
        hint = "Give a dotted path that can be imported from here, or a .py file."
        if Path(f"{name}.py").is_file():
            hint = f"Did you mean {name}.py?"
        raise UsageError(f"There is no module {name!r}.", hint=hint) from error


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"There is no file {str(path)!r}.")
    path = path.resolve()
    _search_first(path.parent)
    loaded = sys.modules.get(path.stem)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path):
        return loaded
    # A file may be called like a module that is loaded already; it must not take its place.
    name = path.stem if loaded is None else f"howdah_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{str(path)!r} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _search_first(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _where(error: Exception) -> str:
    if isinstance(error, SyntaxError):
        return ""  # it says so itself
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "importlib" not in frame.filename
        and Path(frame.filename).parent != Path(__file__).parent
    ]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""


def _services_of(module: ModuleType, name: str, attribute: str | None) -> Sequence[Declared]:
    if attribute is None:
        values = list(vars(module).values())
        found = _services_in(value for value in values if isinstance(value, Bundle))
        found = found or _services_in(value for value in values if isinstance(value, Declared))
        if not found:
            raise UsageError(
                f"{name} defines no service.",
                hint="Declare one: greeter = Service('Greeter'), and decorate its handlers.",
            )
        return found
    if not hasattr(module, attribute):
        names = [
            one for one, item in vars(module).items() if isinstance(item, Declared | Bundle | list)
        ]
        raise UsageError(f"{name} has no {attribute!r}.{did_you_mean(attribute, names)}")
    value = getattr(module, attribute)
    items = list(value) if isinstance(value, list | tuple) else [value]
    if not items or not all(isinstance(item, Declared | Bundle) for item in items):
        raise UsageError(
            f"{name}:{attribute} is neither a service nor a list of services or an app."
        )
    return _services_in(items)


def _services_in(items: Iterable[Declared | Bundle]) -> list[Declared]:
    return [
        service
        for item in items
        for service in (item.services if isinstance(item, Bundle) else [item])
    ]
