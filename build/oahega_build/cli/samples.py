"""Verbs of samples: the key, opening, reviewing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from oahega_build.cli.options import EMBEDDED, app

Folder = Annotated[Path, typer.Argument(help="Folder of opened samples, a folder per label.")]


@app.command("sample-key")
def sample_key(
    private: Annotated[Path, typer.Argument(help="New file for the private key; keep it off the devices.")],
) -> None:
    """Make a key for samples. Prints the public key for the setting `samples.recipient`."""
    from oahega_build.samples.keys import make_key

    print(make_key(private))


@app.command("open-samples")
def open_samples(
    fetched: Annotated[Path, typer.Argument(help="What `playbooks/samples.yml` fetched.")],
    key: Annotated[Path, typer.Option(help="The private key that `sample-key` wrote.")],
    out: Annotated[Path, typer.Option(help="Folder for the pictures, a folder per label.")],
    withdraw: Annotated[
        list[str] | None,
        typer.Option(metavar="CODE", help="Delete the sample with this code here. Repeatable."),
    ] = None,
) -> None:
    """Open fetched samples into a folder per label, and delete those that were withdrawn."""
    from oahega_build.samples.book import Book
    from oahega_build.samples.keys import load_key
    from oahega_build.samples.opening import open_samples, withdraw_here

    book = Book(out)
    for code in withdraw or ():
        withdraw_here(fetched, book, code)
    for sentence in open_samples(fetched, load_key(key), book).sentences(len(book)):
        print(sentence, file=sys.stderr)


@app.command("review")
def review(
    folder: Folder,
    bundle: Annotated[Path, typer.Option(help="Says which samples to look at first.")] = EMBEDDED,
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Of the page, on this machine only.")] = 8322,
) -> None:
    """Look at opened samples in a browser, suspicious ones first: confirm, correct or throw away."""
    from oahega_build.samples.book import Book
    from oahega_build.samples.review import address, listening, new_access, review_app, serve
    from oahega_build.samples.suspicion import suspects
    from oahega_edge.bundles.load import load_bundle

    book = Book(folder)
    labels = load_bundle(bundle).manifest.emotion.labels
    known = sorted({*labels, *(str(entry.label) for entry in book.present.values())})
    access = new_access()
    page = review_app(book, suspects(book, bundle), known, access)
    with listening(port) as door:
        print(f"open {address(access, port)} in a browser; Ctrl-C ends", file=sys.stderr, flush=True)
        serve(page, door)
