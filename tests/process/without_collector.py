"""A program: runs another one of Python's with the garbage collector off.

`python -m tests.process.without_collector PYTHON -m MODULE WORDS...`, as `serving` puts it.
"""

import gc
import runpy
import sys

if __name__ == "__main__":
    gc.disable()
    module = sys.argv[3]
    sys.argv[:] = [module, *sys.argv[4:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
