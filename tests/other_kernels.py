"""Run a command as if on a processor without AVX2, AVX-512 and FMA.

    python -m tests.other_kernels pytest -m "not full"

Numeric libraries pick their kernels by processor, and kernels round differently. Each library that can be told
takes its oldest one here, so that a test which hangs on the last bits of a float fails on this machine too. LightGBM
and Polars pick theirs when they are built, and ONNX Runtime cannot be told. Says what each library takes, and ends
with 2 when all of them round as before although the processor has newer kernels: such a run proves nothing.
"""

import json
import os
import subprocess
import sys

_ASKED = """
import json, math
import numpy as np
import faiss, torch
from numpy._core import _multiarray_umath as umath
from threadpoolctl import threadpool_info
blas = sorted({f"OpenBLAS {p['architecture']}" for p in threadpool_info() if p["internal_api"] == "openblas"})
on = [name for name in umath.__cpu_dispatch__ if umath.__cpu_features__.get(name)]
steps = np.linspace(0.1, 20, 4001)
bits = [np.exp(steps), np.log(steps), np.cumsum(np.sin(steps)), steps.reshape(1, -1) @ steps]
bits.append([math.exp(step) for step in steps])
print(json.dumps({
    "dispatch": on,
    "kernels": [f"NumPy {on[-1] if on else 'baseline'}", *blas, f"PyTorch {torch.backends.cpu.get_cpu_capability()}"],
    "bits": [float(value).hex() for values in bits for value in np.ravel(values)],
}))
"""

_OLDEST = {
    "OPENBLAS_CORETYPE": "Prescott",
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_CBWR": "COMPATIBLE",
    "FAISS_OPT_LEVEL": "generic",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX2,-FMA",
}


def _ask(environment: dict[str, str]) -> dict[str, list[str]]:
    done = subprocess.run([sys.executable, "-c", _ASKED], env=environment, capture_output=True, text=True, check=True)
    told: dict[str, list[str]] = json.loads(done.stdout)
    return told


def main() -> None:
    usual = _ask(dict(os.environ))
    # NumPy warns of a feature that the processor lacks: only those it has are switched off.
    oldest = {**os.environ, **_OLDEST, "NPY_DISABLE_CPU_FEATURES": " ".join(usual["dispatch"])}
    other = _ask(oldest)
    apart = sum(one != two for one, two in zip(usual["bits"], other["bits"], strict=True))
    said = (
        f"usual: {', '.join(usual['kernels'])}\nhere: {', '.join(other['kernels'])}; {apart} numbers end in other bits"
    )
    sys.stdout.write(f"{said} of {len(usual['bits'])}\n")
    sys.stdout.flush()
    if usual["dispatch"] and not apart:
        sys.exit(2)
    os.execvpe(sys.argv[1], sys.argv[1:], oldest)


if __name__ == "__main__":
    main()
