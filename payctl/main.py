"""The commands of payctl."""

import asyncio
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from chassis.settings import SettingError, own_variables
from payctl.api import AsJson
from payctl.certify import certify_command
from payctl.doctor import doctor_command
from payctl.encrypt import encrypt_command
from payctl.keys import KeysUnusable, ensure_keys, rotate_keys
from payctl.parts import PARTS
from payctl.replay import release_command, replay_command
from payctl.sign import sign_command
from payctl.tail import tail_command
from payctl.tokens import DEFAULT_BANK, DEVELOPER_SCOPES, mint_with, read_token_settings
from payctl.topics import topics_command
from payctl.up import Surroundings, bring_up
from payctl.why import why_command

_MOST_DAYS = 366

app = typer.Typer(no_args_is_help=True, help="Run and ask the payment gateway.")


@app.command()
def token(
    *,
    subject: Annotated[str, typer.Option(help="Who calls.")] = "developer",
    scope: Annotated[
        list[str] | None, typer.Option(help="What it may do; repeat for several.")
    ] = None,
    bank: Annotated[str, typer.Option(help="The bank it acts for; '' for any.")] = DEFAULT_BANK,
    days: Annotated[int, typer.Option(min=1, max=_MOST_DAYS, help="How long it is good.")] = 30,
    new_key: Annotated[bool, typer.Option("--new-key", help="Rotate the key first.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print a token signed with this machine's own key, and nothing else."""
    settings = read_token_settings(variables=own_variables())
    key = (rotate_keys if new_key else ensure_keys)(folder=settings.folder)
    scopes = tuple(part for text in scope or DEVELOPER_SCOPES for part in text.split())
    now, lifetime = _now(), timedelta(days=days)
    minted = mint_with(
        settings=settings,
        key=key,
        subject=subject,
        scopes=scopes,
        bank=bank or None,
        now=now,
        lifetime=lifetime,
    )
    if not as_json:
        typer.echo(minted)
        return
    stated = {
        "token": minted,
        "subject": subject,
        "scopes": scopes,
        "bank": bank or None,
        "expiresAt": (now + lifetime).isoformat(timespec="seconds"),
    }
    typer.echo(json.dumps(stated))


@app.command()
def rotate(*, as_json: AsJson = False) -> None:
    """Make a new signing key; tokens of the one before it stay good."""
    settings = read_token_settings(variables=own_variables())
    key = rotate_keys(folder=settings.folder)
    if as_json:
        typer.echo(json.dumps({"keyId": key.key_id, "folder": str(settings.folder)}))
        return
    typer.echo(f"New key {key.key_id} in {settings.folder}; the services read it within seconds.")


@app.command()
def up() -> None:
    """Start everything on this machine and say how to use it; Ctrl-C stops it."""
    around = Surroundings(
        environ=os.environ,
        variables=own_variables(),
        clock=_now,
        say=typer.echo,
    )
    raise typer.Exit(asyncio.run(bring_up(parts=PARTS, around=around)))


app.command(name="sign")(sign_command)
app.command(name="replay")(replay_command)
app.command(name="release")(release_command)
app.command(name="topics")(topics_command)
app.command(name="encrypt")(encrypt_command)
app.command(name="why")(why_command)
app.command(name="tail")(tail_command)
app.command(name="doctor")(doctor_command)
app.command(name="certify")(certify_command)


def _now() -> datetime:
    return datetime.now(tz=UTC)


def main() -> None:
    """Run the command that the arguments name; a wrong setting is one line and exit code 2."""
    try:
        app()
    except (SettingError, KeysUnusable) as problem:
        sys.stderr.write(f"payctl: {problem}\n")
        sys.exit(2)
