"""Loader of the user's `net.py:build` or `.keras` file."""

from __future__ import annotations

import difflib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from search.errors import UserCodeError

LABEL_FORMS: Final = ("int", "onehot", "binary")
CONSTANTS: Final = ("LABELS", "FIT", "PREPROCESS", "AUGMENT")
FIT_SETTINGS: Final = ("batch_size", "epochs", "class_weight")

_LINES: Final = 8  # of the user's traceback that are shown


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A user's network and the settings of its training."""

    model: str  # path of the network, as the user passed it
    build: Callable[[], Any]  # returns a new compiled Keras model, with weights by Keras' global seed
    labels: str  # "int", "onehot" or "binary"
    batch_size: int = 32
    epochs: int = 10
    class_weight: Mapping[int, float] | None = None
    preprocess: Callable[[Any], Any] | None = None  # (n, h, w, c) float32 -> (n, h, w, c)
    augment: Callable[[Any, Any], Any] | None = None  # a batch of images and encoded labels -> the same


def load_case(model: str, input_shape: tuple[int, int, int], classes: int) -> Case:
    """Read the user's file and build the network once.

    Args:
        model: `net.py:build` (`net.py` alone means `build`), or a saved `model.keras`.
        input_shape: height, width and channels of the images.
        classes: number of classes, at least 2.

    Raises:
        UserCodeError: the user's file is missing, raises, or builds a network that can't be diagnosed.
    """
    path, function = _parts(model)
    if not path.is_file():
        raise UserCodeError(f"There is no file {path}. Pass --model net.py:build or a .keras file.")
    if path.suffix == ".keras":
        return _case(model, _saved(path), {}, path, input_shape, classes)
    if path.suffix != ".py":
        raise UserCodeError(f"--model: expected net.py:build or a .keras file, got {model}.")
    module = _module(path)
    wanted = getattr(module, function, None)
    if not callable(wanted):
        there = ", ".join(name for name, value in vars(module).items() if callable(value) and not name.startswith("_"))
        raise UserCodeError(
            f"{path} has no function {function}(input_shape, n_classes); it has: {there or 'no functions'}. "
            f"Pass the name of yours after a colon: --model {path}:NAME."
        )

    def build() -> Any:
        with _user_code(path, f"{function}({input_shape}, {classes})"):
            return wanted(input_shape, classes)

    return _case(model, build, _constants(module, path, classes), path, input_shape, classes)


def _parts(model: str) -> tuple[Path, str]:
    head, colon, tail = model.rpartition(":")
    if colon and tail.isidentifier():
        return Path(head), tail
    return Path(model), "build"


def _module(path: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location(f"diagnosed_{path.stem}", path.resolve())
    if specification is None or specification.loader is None:
        raise UserCodeError(f"{path} can't be read as Python.")
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # their dataclasses and registered classes look it up
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # files beside it can be imported, as when it is run as a script
    with _user_code(path, "the file itself"):
        specification.loader.exec_module(module)
    return module


@contextmanager
def _user_code(path: Path, what: str) -> Iterator[None]:
    """Turn any error in the user's code into one line and the last lines of its traceback."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise user_code_error(error, f"{path}: {what}") from error


def user_code_error(error: BaseException, where: str) -> UserCodeError:
    """Convert an exception of the user's code to a `UserCodeError` with the last lines of its traceback.

    Args:
        error: the exception.
        where: code that raised it, as the subject of the message, such as "net.py: build((8, 8, 3), 2)".
    """
    text = "".join(traceback.format_exception(error)).strip().splitlines()
    message = " ".join(str(error).split())
    short = message if len(message) <= 300 else message[:300] + " ..."
    return UserCodeError(f"{where} raised {type(error).__name__}: {short}", tuple(text[-_LINES:]))


def _constants(module: ModuleType, path: Path, classes: int) -> dict[str, Any]:
    for name in vars(module):
        if name.isupper() and name not in CONSTANTS and (near := difflib.get_close_matches(name, CONSTANTS, 1, 0.8)):
            raise UserCodeError(f"{path} sets {name}, which nothing reads. Did you mean {near[0]}?")
    constants = {name: getattr(module, name) for name in CONSTANTS if hasattr(module, name)}
    labels = constants.get("LABELS", "int")
    if labels not in LABEL_FORMS:
        raise UserCodeError(f"{path}: LABELS is {labels!r}; expected one of {', '.join(LABEL_FORMS)}.")
    fit = constants.get("FIT", {})
    if not isinstance(fit, Mapping) or (unknown := set(fit) - set(FIT_SETTINGS)):
        what = f"has the unknown setting {min(map(str, unknown))!r}" if isinstance(fit, Mapping) else "is not a dict"
        raise UserCodeError(f"{path}: FIT {what}; expected a dict of {', '.join(FIT_SETTINGS)}.")
    for name in ("batch_size", "epochs"):
        value = fit.get(name, 1)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UserCodeError(f"{path}: FIT[{name!r}] is {value!r}; expected a whole number of at least 1.")
    weights = fit.get("class_weight")
    if weights is not None and (
        not isinstance(weights, Mapping) or not all(isinstance(k, int) and 0 <= k < classes for k in weights)
    ):
        raise UserCodeError(
            f"{path}: FIT['class_weight'] is {weights!r}; "
            f"expected a dict from class number (0 to {classes - 1}) to weight."
        )
    for name in ("PREPROCESS", "AUGMENT"):
        if constants.get(name) is not None and not callable(constants[name]):
            raise UserCodeError(f"{path}: {name} is {constants[name]!r}; it must be a function.")
    return constants


def _case(
    model: str,
    build: Callable[[], Any],
    constants: Mapping[str, Any],
    path: Path,
    input_shape: tuple[int, int, int],
    classes: int,
) -> Case:
    from search.diagnosis.anatomy import loss_name

    network = build()
    _check(network, path, input_shape, classes, bool(constants.get("PREPROCESS")))
    fit = constants.get("FIT", {})
    outputs = int(network.output_shape[-1])
    return Case(
        model=model,
        build=build,
        labels=constants.get("LABELS") or guessed_labels(loss_name(network.loss), outputs),
        batch_size=fit.get("batch_size", 32),
        epochs=fit.get("epochs", 10),
        class_weight=fit.get("class_weight"),
        preprocess=constants.get("PREPROCESS"),
        augment=constants.get("AUGMENT"),
    )


def guessed_labels(loss: str, outputs: int) -> str:
    """Return the form of labels ("int", "onehot" or "binary") that a loss expects.

    Args:
        loss: canonical name of the loss.
        outputs: number of output units.
    """
    if loss.startswith("sparse"):
        return "int"
    return "binary" if outputs == 1 else "onehot"


def _check(network: Any, path: Path, input_shape: tuple[int, int, int], classes: int, preprocessed: bool) -> None:
    import keras

    if not isinstance(network, keras.Model):
        kind = type(network).__name__
        raise UserCodeError(f"{path}: build returned {kind}; it must return a compiled Keras model (return model).")
    if not network.compiled or network.optimizer is None:
        raise UserCodeError(
            f"{path}: the model is not compiled. Call model.compile(...) in build, or before saving it."
        )
    if not network.built:
        with _user_code(path, "building the network"):
            network.build((None, *input_shape))
    wanted = getattr(network, "input_shape", None)
    if isinstance(wanted, list) or isinstance(getattr(network, "output_shape", None), list):
        raise UserCodeError(
            f"{path}: the model has several inputs or outputs; expected one input (an image) and one output."
        )
    if wanted is not None and not preprocessed:
        fits = len(wanted) == 4 and all(w in (None, n) for w, n in zip(wanted[1:], input_shape, strict=True))
        if not fits:
            raise UserCodeError(
                f"{path}: the model expects inputs of {tuple(wanted[1:])}, the images are {input_shape}. "
                "Use the input_shape that build gets."
            )
    output_shape = tuple(network.output_shape[1:])
    if len(output_shape) != 1 or output_shape[0] not in (None, 1, classes):
        hint = (
            "Flatten or pool before the last Dense layer."
            if len(output_shape) > 1
            else "Use the n_classes that build gets."
        )
        raise UserCodeError(
            f"{path}: the model gives {output_shape} numbers per image; expected ({classes},) for {classes} classes"
            f"{' or (1,)' if classes == 2 else ''}. {hint}"
        )


def _saved(path: Path) -> Callable[[], Any]:
    """Return a function that loads the file, and resets trainable weights if it was saved after training."""

    def build() -> Any:
        import keras

        with _user_code(path, "loading the model"):
            network = keras.models.load_model(path)  # safe mode: a file may not bring code of its own
        if network.optimizer is not None and network.optimizer.iterations.numpy() > 0:
            _start_anew(network)
        return network

    return build


def _start_anew(network: Any) -> None:
    import keras

    from search.diagnosis.layer_recording import leaves
    from search.diagnosis.surgery import compile_like

    for leaf in leaves(network):
        layer = leaf.layer
        if not layer.trainable:
            continue
        for name in ("kernel", "bias", "depthwise_kernel", "pointwise_kernel", "gamma", "beta", "moving_mean"):
            variable, initializer = getattr(layer, name, None), getattr(layer, f"{name}_initializer", None)
            if variable is not None and initializer is not None:
                variable.assign(initializer(variable.shape, variable.dtype))
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_variance.assign(keras.ops.ones_like(layer.moving_variance))
    compile_like(network, network)
