"""Second factors, and who people are elsewhere, in the database; implements `CredentialStore`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from techstone.adapters.storage.database import raise_revision
from techstone.adapters.storage.dialect import insert_or
from techstone.adapters.storage.schema import (
    FOREIGN_IDENTITIES,
    MEMBERSHIPS,
    PEOPLE,
    RECOVERY_CODES,
    SECOND_FACTORS,
    SESSIONS,
    TWO_FACTOR_ACCOUNTS,
)
from techstone.control.identity.records import Factor, Foreign

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from techstone.adapters.storage.database import Database
    from techstone.adapters.storage.identity import AddAccount
    from techstone.control.accounts.records import Account
    from techstone.control.identity.records import Membership, Person


class SqlCredentials:
    """Beside the people, in the same database."""

    def __init__(self, database: Database, add_account: AddAccount) -> None:
        self._database = database
        self._add_account = add_account

    async def find_factor(self, person: str) -> Factor | None:
        """Return the person's."""
        async with self._database.look() as connection:
            wanted = select(SECOND_FACTORS).where(SECOND_FACTORS.c.person == person)
            row = (await connection.execute(wanted)).one_or_none()
        return None if row is None else Factor(*row)

    async def add_factor(self, factor: Factor, codes: tuple[bytes, ...], keep: bytes) -> bool:
        """Store it with digests of recovery codes, and end every session of the person but one, together."""
        try:
            async with self._database.change() as connection:
                await connection.execute(insert(SECOND_FACTORS).values(msgspec.structs.asdict(factor)))
                await _add_codes(connection, factor.person, codes)
                await _end_sessions(connection, factor.person, keep)
        except IntegrityError:
            return False
        return True

    async def take_step(self, person: str, step: int) -> bool:
        """Take a step of time; False where it, or a later one, was taken: of two at once only one gets it."""
        change = update(SECOND_FACTORS).where(SECOND_FACTORS.c.person == person, SECOND_FACTORS.c.used < step)
        async with self._database.change(noted=False) as connection:
            return bool((await connection.execute(change.values(used=step))).rowcount)

    async def replace_codes(self, person: str, codes: tuple[bytes, ...]) -> None:
        """Store other recovery codes in place of the old ones."""
        async with self._database.change() as connection:
            await connection.execute(delete(RECOVERY_CODES).where(RECOVERY_CODES.c.person == person))
            await _add_codes(connection, person, codes)

    async def use_code(self, person: str, digest: bytes) -> bool:
        """Use a recovery code up; say whether it was still there."""
        used = delete(RECOVERY_CODES).where(RECOVERY_CODES.c.person == person, RECOVERY_CODES.c.digest == digest)
        async with self._database.change() as connection:
            return bool((await connection.execute(used)).rowcount)

    async def count_codes(self, person: str) -> int:
        """Return how many are left."""
        wanted = select(func.count()).select_from(RECOVERY_CODES).where(RECOVERY_CODES.c.person == person)
        async with self._database.look() as connection:
            return int(await connection.scalar(wanted) or 0)

    async def remove_factor(self, person: str, keep: bytes | None = None) -> bool:
        """Delete it and its codes, and end every session of the person but one; say whether there was one."""
        async with self._database.change() as connection:
            gone = await connection.execute(delete(SECOND_FACTORS).where(SECOND_FACTORS.c.person == person))
            if not gone.rowcount:
                return False
            await connection.execute(delete(RECOVERY_CODES).where(RECOVERY_CODES.c.person == person))
            await _end_sessions(connection, person, keep)
            return True

    async def require(self, account: str, *, required: bool) -> None:
        """Have an account ask its members for two-factor, or no longer."""
        async with self._database.change() as connection:
            if required:
                asks = insert_or(connection, TWO_FACTOR_ACCOUNTS).values(account=account)
                await connection.execute(asks.on_conflict_do_nothing())
            else:
                await connection.execute(delete(TWO_FACTOR_ACCOUNTS).where(TWO_FACTOR_ACCOUNTS.c.account == account))

    async def find_foreign(self, issuer: str, subject: str) -> Foreign | None:
        """Return who that is here."""
        wanted = select(FOREIGN_IDENTITIES).where(
            FOREIGN_IDENTITIES.c.issuer == issuer, FOREIGN_IDENTITIES.c.subject == subject
        )
        async with self._database.look() as connection:
            row = (await connection.execute(wanted)).one_or_none()
        return None if row is None else Foreign(*row)

    async def list_foreign(self, person: str) -> tuple[Foreign, ...]:
        """Return who the person is elsewhere, oldest first."""
        wanted = (
            select(FOREIGN_IDENTITIES)
            .where(FOREIGN_IDENTITIES.c.person == person)
            .order_by(FOREIGN_IDENTITIES.c.created_at, FOREIGN_IDENTITIES.c.issuer)
        )
        async with self._database.look() as connection:
            return tuple(Foreign(*row) for row in (await connection.execute(wanted)).all())

    async def add_foreign(self, foreign: Foreign) -> bool:
        """Store it; False where the subject is somebody's, or the person is another subject at this issuer."""
        try:
            async with self._database.change() as connection:
                await connection.execute(insert(FOREIGN_IDENTITIES).values(msgspec.structs.asdict(foreign)))
        except IntegrityError:
            return False
        return True

    async def remove_foreign(self, person: str, issuer: str) -> None:
        """Forget who the person is at an issuer."""
        gone = delete(FOREIGN_IDENTITIES).where(
            FOREIGN_IDENTITIES.c.person == person, FOREIGN_IDENTITIES.c.issuer == issuer
        )
        async with self._database.change() as connection:
            await connection.execute(gone)

    async def admit_foreign(
        self, foreign: Foreign, person: Person, account: Account | None, membership: Membership
    ) -> bool:
        """Store a new person with who they are elsewhere, a membership, and a new account where given."""
        try:
            async with self._database.change() as connection:
                if account is not None:
                    await self._add_account(connection, account, await raise_revision(connection))
                await connection.execute(insert(PEOPLE).values(msgspec.structs.asdict(person)))
                await connection.execute(insert(MEMBERSHIPS).values(msgspec.structs.asdict(membership)))
                await connection.execute(insert(FOREIGN_IDENTITIES).values(msgspec.structs.asdict(foreign)))
        except IntegrityError:
            return False
        return True


async def _add_codes(connection: AsyncConnection, person: str, codes: tuple[bytes, ...]) -> None:
    await connection.execute(insert(RECOVERY_CODES), [{"digest": code, "person": person} for code in codes])


async def _end_sessions(connection: AsyncConnection, person: str, keep: bytes | None) -> None:
    await connection.execute(delete(SESSIONS).where(SESSIONS.c.person == person, SESSIONS.c.digest != (keep or b"")))
