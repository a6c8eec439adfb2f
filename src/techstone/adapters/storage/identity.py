"""People, sessions and one-time links in the database; implements `IdentityStore`.

Nothing here raises the store's revision: a gateway knows nothing of people.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from techstone.adapters.storage.database import raise_revision
from techstone.adapters.storage.dialect import insert_or
from techstone.adapters.storage.schema import (
    ACCOUNTS,
    LINKS,
    MEMBERSHIPS,
    PEOPLE,
    SECOND_FACTORS,
    SESSIONS,
    TWO_FACTOR_ACCOUNTS,
)
from techstone.control.identity.records import Link, Member, Membership, Person, Seat, Session

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy import Row, Table
    from sqlalchemy.ext.asyncio import AsyncConnection

    from techstone.adapters.storage.database import Database
    from techstone.control.accounts.records import Account

    AddAccount = Callable[[AsyncConnection, Account, int], Awaitable[None]]

_T = TypeVar("_T", bound=msgspec.Struct)


class SqlIdentity:
    """Beside the ledger, in the same database."""

    def __init__(self, database: Database, add_account: AddAccount) -> None:
        self._database = database
        self._add_account = add_account

    async def find_person(self, who: str) -> Person | None:
        """Return the person of that id or email."""
        async with self._database.look() as connection:
            wanted = select(PEOPLE).where((PEOPLE.c.id == who) | (PEOPLE.c.email == who))
            row = (await connection.execute(wanted)).one_or_none()
        return None if row is None else _read(row, PEOPLE, Person)

    async def count_people(self) -> int:
        """Return how many there are."""
        async with self._database.look() as connection:
            return int(await connection.scalar(select(func.count()).select_from(PEOPLE)) or 0)

    async def set_password(self, person: str, password: str, *, keep: bytes | None = None) -> None:
        """Store a new hash and end every session of the person but one (by digest), together."""
        async with self._database.change() as connection:
            await connection.execute(update(PEOPLE).where(PEOPLE.c.id == person).values(password=password))
            await connection.execute(
                delete(SESSIONS).where(SESSIONS.c.person == person, SESSIONS.c.digest != (keep or b""))
            )

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

        All or nothing; False where the link, or the address of a new person or account, was taken in between.
        """
        try:
            async with self._database.change() as connection:
                used = await connection.execute(delete(LINKS).where(LINKS.c.digest == link.digest))
                if not used.rowcount:
                    return False
                if account is not None:
                    await self._add_account(connection, account, await raise_revision(connection))
                known = await connection.scalar(select(PEOPLE.c.id).where(PEOPLE.c.id == person.id))
                if known is None:
                    await connection.execute(insert(PEOPLE).values(msgspec.structs.asdict(person)))
                await _set_role(connection, membership)
        except IntegrityError:
            return False
        return True

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

    async def set_role(self, membership: Membership) -> None:
        """Add a membership, or give an existing one another role."""
        async with self._database.change() as connection:
            await _set_role(connection, membership)

    async def remove_member(self, account: str, person: str) -> None:
        """End a membership."""
        async with self._database.change() as connection:
            await connection.execute(
                delete(MEMBERSHIPS).where(MEMBERSHIPS.c.account == account, MEMBERSHIPS.c.person == person)
            )

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


async def _set_role(connection: AsyncConnection, membership: Membership) -> None:
    row = msgspec.structs.asdict(membership)
    await connection.execute(
        insert_or(connection, MEMBERSHIPS)
        .values(row)
        .on_conflict_do_update(index_elements=["account", "person"], set_={"role": membership.role})
    )


def _read(row: Row[Any], table: Table, kind: type[_T]) -> _T:
    names = kind.__struct_fields__
    return kind(*(row._mapping[table.c[name]] for name in names))  # noqa: SLF001 - SQLAlchemy's public name
