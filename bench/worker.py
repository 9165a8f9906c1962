"""One peer's process: `python3 -m bench.worker ADAPTER FORM --device D --precision P --threads N`, answering requests (wire.py) until standard input ends."""
import argparse
import importlib
import warnings

from bench import wire


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("adapter")
    parser.add_argument("form")
    parser.add_argument("--device", required=True)
    parser.add_argument("--precision", required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")

    class Late:
        """The adapter, made at the first request, so that a library that is missing or broken is told as an answer."""

        adapter = None

        def start(self):
            return self.prepare

        def __getattr__(self, name):
            if Late.adapter is None:
                try:
                    Late.adapter = importlib.import_module("bench.peer_" + options.adapter).Peer(options.form, options)
                except Exception as error:
                    raise wire.Unusable(f"{type(error).__name__}: {wire.first_line(error)}") from error
            return getattr(Late.adapter, name)

    wire.serve(Late())


if __name__ == "__main__":
    main()
