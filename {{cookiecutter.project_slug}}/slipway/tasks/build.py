"""build.*: build, push, pin and scan images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.exceptions import Exit
from invoke.tasks import task

from slipway.config import values
from slipway.core import output, project, transaction
from slipway.core.errors import Refused
from slipway.stack.build import digests, images
from slipway.stack.build import scan as build_scan
from slipway.stack.build.compose_cli import LOCK
from slipway.stack.engines import permissions
from slipway.tasks import options

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from invoke.context import Context

WHICH = {
    "service": "only this one (repeatable)",
    "tag": "the version (default: that of pyproject.toml)",
    "profile": options.PROFILE,
}


@task(
    name="images",
    iterable=["service"],
    positional=[],
    help=WHICH | {"push": "push them too, like build.push", "yes": options.YES},
)
def images_(
    _c: Context,
    service: list[str],
    tag: str = "",
    push: bool = False,
    profile: str = "",
    yes: bool = False,
) -> None:
    """Build all images of the stack, in parallel."""
    build = _prepared(profile, tag)
    wanted = images.choose_targets(service, build.targets())
    if push:
        _push(build, wanted, yes=yes)
        return
    build.run(wanted)
    _share_folders(build.project.root)
    output.show(_rows(build, wanted), as_json=False, empty="No image is built here.")
    output.say(f"Next: {_next(build, wanted)}   inv build.scan")


def _share_folders(root: Path) -> None:
    """Let the containers of stages write to their folders, where there are stages."""
    if project.has_room("pipeline"):
        from slipway.pipeline import stages  # noqa: PLC0415 - optional: only with stages

        if stages.has_stages(root):
            permissions.share_folders(root, stages.output_folders(root))


@task(
    name="push",
    iterable=["service"],
    positional=[],
    help=WHICH | {"version": "the version in their labels, if not the tag", "yes": options.YES},
)
def push_(
    _c: Context,
    service: list[str],
    tag: str = "",
    version: str = "",
    profile: str = "",
    yes: bool = False,
) -> None:
    """Push the images, with SBOM and provenance attached."""
    build = _prepared(profile, tag, version)
    _push(build, images.choose_targets(service, build.targets()), yes=yes)


@task(help={"check": "change nothing; fail if anything has moved, and say what"})
def pin(_c: Context, check: bool = False) -> None:
    """Lock every image from elsewhere to its current digest."""
    here = project.load()
    path = here.root / LOCK
    if check and not path.is_file():
        raise Refused(f"there is no {LOCK}: nothing is locked", "inv build.pin")
    before = digests.locked_digests(path.read_text(encoding="utf-8")) if path.is_file() else {}
    wanted = digests.images_in_use(here)
    if wanted.some:
        output.say(f"Not locked, because not every profile has them: {', '.join(wanted.some)}")
    now = {name: images.registry_digest(name) for name in wanted.names}
    news = digests.moved_images(before, now)
    if check:
        if news:
            raise Refused("\n".join(news), "inv build.pin")
        output.say(f"{LOCK}: none of the {len(now)} images has moved.")
        return
    digests.write_lock(path, digests.lock_text(digests.lock_content(wanted, now)))
    output.show([{"image": name, "digest": now[name]} for name in now], as_json=False, empty="")
    output.say("\n".join(news) or "Nothing has moved.")
    output.say(f"Next: git add {LOCK}; inv deploy.up")


@task(
    help={
        "json": options.JSON,
        "profile": options.PROFILE,
        "strict": "also fail if pip-audit or hadolint could not run",
    }
)
def scan(_c: Context, json: bool = False, profile: str = "", strict: bool = False) -> None:
    """Scan packages, Dockerfiles and images for known problems."""
    root = project.load().root
    found = [
        build_scan.audit_packages(lock, root)
        for lock in ("requirements.txt", "requirements-dev.txt")
    ]
    found += _scanned(_prepared(profile))
    output.show(found, as_json=json, empty="")
    if why := build_scan.scan_failure(found, strict=strict):
        raise Exit("" if json else why, code=1)


def _scanned(build: images.ImageBuild) -> list[build_scan.ScanResult]:
    """Scan what the compose files build; if they cannot be read, say so."""
    root = build.project.root
    try:
        targets = build.targets()
    except Refused as error:
        return [
            build_scan.ScanResult(
                "images", "hadolint, trivy", build_scan.LEFT_OUT, error.what, error.fix
            )
        ]
    linted = build_scan.lint_dockerfiles(sorted({item.dockerfile for item in targets}), root)
    if not build_scan.find_scanner("trivy"):
        return [
            linted,
            build_scan.ScanResult("images", "trivy", build_scan.LEFT_OUT, "trivy is not installed"),
        ]
    return [
        linted,
        *(build_scan.scan_image(item.references(build.origin)[0], root) for item in targets),
    ]


def _prepared(profile: str, tag: str = "", version: str = "") -> images.ImageBuild:
    return images.prepare_build(project.load(), values.profile_name(profile), tag, version)


def _push(build: images.ImageBuild, wanted: Sequence[images.BuildTarget], *, yes: bool) -> None:
    """Show what would be pushed, ask, push, and check the registry's digests."""
    images.refuse_local_only(wanted)
    rows = _rows(build, wanted)
    output.show(rows, as_json=False, empty="")
    attest = images.builder_attests(build.project.root)
    if not attest:
        output.say(
            "Pushing without SBOM and provenance: this builder cannot make them. "
            "For one that can: docker buildx create --use"
        )
    output.confirm(f"Push {len(rows)} images?", yes=yes)
    names = [name for item in wanted for name in item.references(build.origin)]
    with transaction.change(build.project.root, "build.push", images=names, attested=attest):
        pushed = images.pushed_digests(build.run(wanted, push=True, attest=attest))
        images.refuse_other_digests(wanted, build.origin, pushed)
    output.say("\n".join(f"{item.repository}@{pushed[item.service]}" for item in wanted))
    output.say(f"Next, on a server: VERSION={build.origin.version} inv deploy.up --profile prod")


def _next(build: images.ImageBuild, wanted: Sequence[images.BuildTarget]) -> str:
    """Return the command that comes next: a push, or a deployment if there is no registry."""
    if all(images.is_local_only(item.repository) for item in wanted):
        return f"VERSION={build.origin.version} inv deploy.up"
    return "inv build.push"


def _rows(build: images.ImageBuild, wanted: Sequence[images.BuildTarget]) -> list[dict[str, str]]:
    tags = build.origin.tags
    return [
        {"service": item.service, "image": item.repository, "tags": ", ".join(tags)}
        for item in wanted
    ]
