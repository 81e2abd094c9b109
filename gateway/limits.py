"""The process's limit of open files: one stream is one file descriptor.

It only raises the soft limit to what the administrator allowed; the hard limit is systemd's
(`LimitNOFILE`) or the shell's.
"""

import resource


def raise_file_limit() -> int:
    """Raise the soft limit of open files to the hard one; return the limit now in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
