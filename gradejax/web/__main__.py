"""Serves the pages: draw, guess, mine, browse, models, class.

    python -m gradejax.web
    python -m gradejax.web --host=0.0.0.0                # for a class: prints two codes and a QR code
    python -m gradejax.web --store=mongodb://localhost/tbs --workdir=runs/best
    python -m gradejax.web --scale=german                # of a store that is new, or has only such grades
    python -m gradejax.web --retention=30d               # erases drawings that are older, now and every hour
    python -m gradejax.web --public-url=https://school.example/gradejax/    # behind a reverse proxy: docs/proxy.md

On any address but loopback, visitors need a code: pupils the access code, which lets them draw and guess, and the
teacher another one, which opens everything. Codes that are not given are generated, anew at each start. Those in the
environment variables GRADEJAX_ACCESS_CODE and GRADEJAX_TEACHER_CODE do not show in the machine's list of processes.
"""

import logging
import os
import sys

from absl import flags

from gradejax import cli
from gradejax.errors import UserError

log = logging.getLogger("gradejax.web")

_FLAGS = flags.FlagValues()
cli.define_store(_FLAGS)
cli.define_scale(_FLAGS)
cli.define_workdir(_FLAGS, "The run whose model guesses; by default the one chosen on the pages, else the best.")
flags.DEFINE_string("host", "127.0.0.1", "Address to listen on; 0.0.0.0 for the whole network.", flag_values=_FLAGS)
flags.DEFINE_integer("port", 8000, "Port to listen on; 0 for any free one.", 0, 65535, flag_values=_FLAGS)
flags.DEFINE_string(
    "access-code", None, "Code that pupils must enter; generated if needed and not given.", flag_values=_FLAGS
)
flags.DEFINE_string(
    "teacher-code", None, "Code that the teacher must enter; generated if needed and not given.", flag_values=_FLAGS
)
flags.DEFINE_string(
    "public-url",
    None,
    "Behind a reverse proxy: the pages' address there, such as https://school.example/gradejax/. Visitors need codes.",
    flag_values=_FLAGS,
)
flags.DEFINE_string(
    "trusted-proxies",
    "127.0.0.1,::1",
    "Addresses and networks of the reverse proxy: only what these say of where a request comes from is believed.",
    flag_values=_FLAGS,
)
flags.DEFINE_string(
    "retention", None, "Erase drawings for good that are older than this: 30d for 30 days.", flag_values=_FLAGS
)
flags.DEFINE_bool(
    "whole-minutes", False, "Keep when a drawing was made to the minute, not to the millisecond.", flag_values=_FLAGS
)


def main(arguments: list[str]) -> None:
    """Serves until it is interrupted."""
    if arguments:
        raise UserError(f"unexpected {arguments[0]!r}; python -m gradejax.web --help shows the flags")
    log.info("gradejax is starting")  # importing the rest takes seconds
    try:
        with cli.importing():
            from gradejax.web import retention
            from gradejax.web.serving import serve
    except ModuleNotFoundError as error:
        sys.exit(f"error: the pages need {error.name}: pip install 'gradejax[web]'")
    age = None if _FLAGS.retention is None else retention.parsed(_FLAGS.retention)
    serve(
        store=_FLAGS.store,
        scale=cli.scale(_FLAGS),
        workdir=cli.workdir(_FLAGS),
        host=_FLAGS.host,
        port=_FLAGS.port,
        pupils_code=_FLAGS["access-code"].value or os.environ.get("GRADEJAX_ACCESS_CODE") or None,
        teachers_code=_FLAGS["teacher-code"].value or os.environ.get("GRADEJAX_TEACHER_CODE") or None,
        public_url=_FLAGS["public-url"].value,
        proxies=str(_FLAGS["trusted-proxies"].value),
        retention=age,
        whole_minutes=bool(_FLAGS["whole-minutes"].value),
    )


if __name__ == "__main__":
    cli.run(main, _FLAGS)
