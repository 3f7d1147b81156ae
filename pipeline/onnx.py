"""Models as ONNX files: written once by the job that trains them, run by ONNX Runtime wherever they score.

A model file is untrusted: its size is checked before it is read, its inputs and outputs before it is used.
"""

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ArtifactError

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when it is loaded: it writes to the home folder else
import onnxruntime as ort

if TYPE_CHECKING:
    import torch

LARGEST: Final = 1 << 30  # bytes of one model
_QUIET: Final = 3  # errors alone are logged; they are raised as well


@dataclass(frozen=True, slots=True)
class OnnxModel:
    """An opened model; `run` is safe to call from several threads."""

    session: ort.InferenceSession
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def run(self, **inputs: NDArray[Any]) -> tuple[NDArray[np.float32], ...]:
        """The outputs, in the order they were saved with."""
        return tuple(self.session.run(list(self.outputs), inputs))

    @classmethod
    def open(cls, path: Path, inputs: tuple[str, ...], outputs: tuple[str, ...], threads: int = 1) -> "OnnxModel":
        """Raises ArtifactError when the file is no model with these inputs and outputs."""
        try:
            if path.stat().st_size > LARGEST:
                raise ArtifactError(path.name, f"at most {LARGEST} bytes", place=str(path.parent))
            options = ort.SessionOptions()
            options.intra_op_num_threads = threads
            options.inter_op_num_threads = 1
            options.log_severity_level = _QUIET
            # The threads of a session would spin between calls, and starve whatever else the machine does.
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except ArtifactError:
            raise
        except Exception as error:  # the runtime raises classes of its own that share no base
            raise ArtifactError(path.name, f"a readable ONNX model ({error})", place=str(path.parent)) from error
        have = tuple(each.name for each in session.get_inputs()), tuple(each.name for each in session.get_outputs())
        if have != (inputs, outputs):
            raise ArtifactError(path.name, f"inputs {inputs} and outputs {outputs}", place=str(path), received=have)
        return cls(session, inputs, outputs)


def export(
    module: "torch.nn.Module",
    inputs: Mapping[str, "torch.Tensor"],
    outputs: tuple[str, ...],
    path: Path,
    *,
    dynamic: Mapping[str, tuple[str, ...]],
) -> None:
    """Write a module. inputs: an example of each argument of `forward`, in order; dynamic: for each input the names
    of its leading axes that may have any size; equal names have equal sizes.
    """
    import torch

    axes = {name: dict(enumerate(dynamic[name])) for name in inputs if name in dynamic}
    axes |= {name: {0: dynamic[next(iter(inputs))][0]} for name in outputs}
    module.eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        # The tracing exporter: the one by torch.export takes a hundred times as long for the same computation.
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            path,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes=axes,
            dynamo=False,
        )
