"""People, sessions and one-time links in the database; implements `IdentityStore`.

Nothing here raises the store's revision: a gateway knows nothing of people.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from techstone.adapters.storage.database import raise_revision
from techstone.adapters.storage.schema import (
    ACCOUNTS,
    FOREIGN_IDENTITIES,
    LINKS,
    MEMBERSHIPS,
    PEOPLE,
    SECOND_FACTORS,
    SESSIONS,
    TWO_FACTOR_ACCOUNTS,
)
from techstone.control.identity.records import Fall, Link, Member, Membership, Person, Seat, Session
from techstone.core.roles import KEY_ROLE, judge, may_make

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy import ColumnElement, Row, Table
    from sqlalchemy.ext.asyncio import AsyncConnection

    from techstone.adapters.storage.database import Database
    from techstone.control.accounts.records import Account
    from techstone.core.roles import Role, Verdict

    AddAccount = Callable[[AsyncConnection, Account, int], Awaitable[None]]

_T = TypeVar("_T", bound=msgspec.Struct)


class SqliteIdentity:
    """Beside the ledger, on the same file."""

    def __init__(self, database: Database, add_account: AddAccount) -> None:
        self._database = database
        self._add_account = add_account

    async def find_person(self, person: str) -> Person | None:
        """Return the person of that id."""
        return await self._find(PEOPLE.c.id == person)

    async def find_by_email(self, email: str) -> Person | None:
        """Return the person of that address."""
        return await self._find(PEOPLE.c.email == email)

    async def _find(self, which: ColumnElement[bool]) -> Person | None:
        async with self._database.look() as connection:
            row = (await connection.execute(select(PEOPLE).where(which))).one_or_none()
        return None if row is None else _read(row, PEOPLE, Person)

    async def count_people(self) -> int:
        """Return how many there are."""
        async with self._database.look() as connection:
            return int(await connection.scalar(select(func.count()).select_from(PEOPLE)) or 0)

    async def set_password(self, person: str, password: str, *, keep: bytes | None = None, alone: bool = False) -> None:
        """Store a new hash and end every session of the person but one (by digest), together."""
        async with self._database.change() as connection:
            await connection.execute(update(PEOPLE).where(PEOPLE.c.id == person).values(password=password))
            await connection.execute(
                delete(SESSIONS).where(SESSIONS.c.person == person, SESSIONS.c.digest != (keep or b""))
            )
            if alone:
                await connection.execute(delete(FOREIGN_IDENTITIES).where(FOREIGN_IDENTITIES.c.person == person))

    async def rehash(self, person: str, password: str) -> None:
        """Store another hash of the same password."""
        async with self._database.change(noted=False) as connection:
            await connection.execute(update(PEOPLE).where(PEOPLE.c.id == person).values(password=password))

    async def add_link(self, link: Link) -> None:
        """Store it; an older one of its kind for the same address and account is good no more."""
        older = delete(LINKS).where(
            LINKS.c.email == link.email, LINKS.c.kind == link.kind, LINKS.c.account.is_not_distinct_from(link.account)
        )
        async with self._database.change() as connection:
            await connection.execute(older)
            await connection.execute(insert(LINKS).values(msgspec.structs.asdict(link)))

    async def find_link(self, digest: bytes, now: int) -> Link | None:
        """Return the link of that digest if it is good."""
        wanted = select(LINKS).where(LINKS.c.digest == digest, LINKS.c.expires_at > now)
        async with self._database.look() as connection:
            row = (await connection.execute(wanted)).one_or_none()
        return None if row is None else _read(row, LINKS, Link)

    async def admit(self, link: Link, person: Person, account: Account | None, membership: Membership) -> bool:
        """Use a link up for a person, new or known by id: with a membership, and a new account where given.

        All or nothing; False where the link, or the address of a new person or account, was taken in between, where the
        person belongs there already, and where who invited them may not any more.
        """
        try:
            async with self._database.change() as connection:
                if not await _stands(connection, link):
                    return False
                used = await connection.execute(delete(LINKS).where(LINKS.c.digest == link.digest))
                if not used.rowcount:
                    return False
                if account is not None:
                    await self._add_account(connection, account, await raise_revision(connection))
                known = await connection.scalar(select(PEOPLE.c.id).where(PEOPLE.c.id == person.id))
                if known is None:
                    await connection.execute(insert(PEOPLE).values(msgspec.structs.asdict(person)))
                await connection.execute(insert(MEMBERSHIPS).values(msgspec.structs.asdict(membership)))
        except IntegrityError:
            return False
        return True

    async def list_invitations(self, account: str, now: int) -> tuple[Link, ...]:
        """Return the invitations to an account that are good, oldest first."""
        wanted = select(LINKS).where(_invites(account), LINKS.c.expires_at > now)
        async with self._database.look() as connection:
            rows = (await connection.execute(wanted.order_by(LINKS.c.created_at, LINKS.c.email))).all()
        return tuple(_read(row, LINKS, Link) for row in rows)

    async def withdraw(self, account: str, digest: bytes) -> bool:
        """End an invitation to an account; say whether it was still there."""
        async with self._database.change() as connection:
            gone = await connection.execute(delete(LINKS).where(_invites(account), LINKS.c.digest == digest))
            return bool(gone.rowcount)

    async def use_link(self, digest: bytes) -> bool:
        """Use a link up; say whether it was still there."""
        async with self._database.change() as connection:
            used = await connection.execute(delete(LINKS).where(LINKS.c.digest == digest))
            return bool(used.rowcount)

    async def list_seats(self, person: str) -> tuple[Seat, ...]:
        """Return the accounts that the person belongs to, oldest first."""
        wanted = (
            select(
                MEMBERSHIPS.c.account,
                ACCOUNTS.c.email,
                MEMBERSHIPS.c.role,
                TWO_FACTOR_ACCOUNTS.c.account.is_not(None),
            )
            .join(ACCOUNTS, ACCOUNTS.c.id == MEMBERSHIPS.c.account)
            .outerjoin(TWO_FACTOR_ACCOUNTS, TWO_FACTOR_ACCOUNTS.c.account == MEMBERSHIPS.c.account)
            .where(MEMBERSHIPS.c.person == person)
            .order_by(MEMBERSHIPS.c.created_at, MEMBERSHIPS.c.account)
        )
        async with self._database.look() as connection:
            return tuple(Seat(*row) for row in (await connection.execute(wanted)).all())

    async def list_members(self, account: str) -> tuple[Member, ...]:
        """Return who belongs to an account, oldest first."""
        wanted = (
            select(
                MEMBERSHIPS.c.person,
                PEOPLE.c.email,
                MEMBERSHIPS.c.role,
                MEMBERSHIPS.c.created_at,
                SECOND_FACTORS.c.person.is_not(None),
            )
            .join(PEOPLE, PEOPLE.c.id == MEMBERSHIPS.c.person)
            .outerjoin(SECOND_FACTORS, SECOND_FACTORS.c.person == MEMBERSHIPS.c.person)
            .where(MEMBERSHIPS.c.account == account)
            .order_by(MEMBERSHIPS.c.created_at, MEMBERSHIPS.c.person)
        )
        async with self._database.look() as connection:
            return tuple(Member(*row) for row in (await connection.execute(wanted)).all())

    async def change_member(self, account: str, person: str, role: Role | None, by: str | None) -> Verdict:
        """Give a member another role, or end the membership, where that may be done; say what came of it."""
        held = select(MEMBERSHIPS.c.person, MEMBERSHIPS.c.role).where(MEMBERSHIPS.c.account == account)
        which = (MEMBERSHIPS.c.account == account) & (MEMBERSHIPS.c.person == person)
        async with self._database.change() as connection:
            roles: dict[str, Role] = {row.person: row.role for row in (await connection.execute(held)).all()}
            found, acting = roles.get(person), roles.get(by) if by else KEY_ROLE
            verdict = judge(acting, found, role, sum(one == "owner" for one in roles.values()))
            if found is not None and verdict == "changed":
                change = delete(MEMBERSHIPS) if role is None else update(MEMBERSHIPS).values(role=role)
                await connection.execute(change.where(which))
                await _end_invitations(connection, account, person, Fall(found, role))
        return verdict

    async def add_session(self, session: Session) -> None:
        """Store it."""
        async with self._database.change() as connection:
            await connection.execute(insert(SESSIONS).values(msgspec.structs.asdict(session)))

    async def find_session(self, digest: bytes) -> tuple[Session, Person] | None:
        """Return the session of that digest and whose it is."""
        wanted = select(SESSIONS, PEOPLE).join(PEOPLE, PEOPLE.c.id == SESSIONS.c.person)
        async with self._database.look() as connection:
            row = (await connection.execute(wanted.where(SESSIONS.c.digest == digest))).one_or_none()
        return None if row is None else (_read(row, SESSIONS, Session), _read(row, PEOPLE, Person))

    async def touch_session(self, digest: bytes, seen_at: int, account: str | None) -> None:
        """Note that it was used, and what it looks at."""
        async with self._database.change(noted=False) as connection:
            await connection.execute(
                update(SESSIONS).where(SESSIONS.c.digest == digest).values(seen_at=seen_at, account=account)
            )

    async def list_sessions(self, person: str) -> tuple[Session, ...]:
        """Return the person's, the one used last first."""
        wanted = select(SESSIONS).where(SESSIONS.c.person == person).order_by(SESSIONS.c.seen_at.desc())
        async with self._database.look() as connection:
            return tuple(_read(row, SESSIONS, Session) for row in (await connection.execute(wanted)).all())

    async def end_session(self, digest: bytes, person: str) -> None:
        """End one of the person's sessions."""
        async with self._database.change() as connection:
            await connection.execute(delete(SESSIONS).where(SESSIONS.c.digest == digest, SESSIONS.c.person == person))

    async def end_other_sessions(self, person: str, keep: bytes) -> None:
        """End all of the person's sessions but one."""
        async with self._database.change() as connection:
            await connection.execute(delete(SESSIONS).where(SESSIONS.c.person == person, SESSIONS.c.digest != keep))

    async def forget(self, sessions_before: int, links_before: int) -> None:
        """Delete sessions last used, and links that ended, before these times."""
        async with self._database.change(noted=False) as connection:
            await connection.execute(delete(SESSIONS).where(SESSIONS.c.seen_at < sessions_before))
            await connection.execute(delete(LINKS).where(LINKS.c.expires_at < links_before))


def _invites(account: str) -> ColumnElement[bool]:
    return (LINKS.c.kind == "invite") & (LINKS.c.account == account)


async def _stands(connection: AsyncConnection, link: Link) -> bool:
    """Say whether who invited may still invite; who runs the cloud always may."""
    if link.inviter is None or link.role is None:
        return True
    if await connection.scalar(select(PEOPLE.c.operator).where(PEOPLE.c.id == link.inviter)):
        return True
    seat = (MEMBERSHIPS.c.account == link.account) & (MEMBERSHIPS.c.person == link.inviter)
    return may_make(await connection.scalar(select(MEMBERSHIPS.c.role).where(seat)), link.role)


async def _end_invitations(connection: AsyncConnection, account: str, person: str, fall: Fall) -> None:
    email = str(await connection.scalar(select(PEOPLE.c.email).where(PEOPLE.c.id == person)))
    wanted = select(LINKS).where(_invites(account))
    for row in (await connection.execute(wanted)).all():
        link = _read(row, LINKS, Link)
        if fall.ends(link, person, email):
            await connection.execute(delete(LINKS).where(LINKS.c.digest == link.digest))


def _read(row: Row[Any], table: Table, kind: type[_T]) -> _T:
    names = kind.__struct_fields__
    return kind(*(row._mapping[table.c[name]] for name in names))  # noqa: SLF001 - SQLAlchemy's public name
