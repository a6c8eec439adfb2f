"""Invoices, receipts and statements as pages and files: the account's own, and for the operator everybody's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar import Response, Router, get
from litestar.params import FromPath, FromQuery

from techstone.control.console.pages import Pages, require_operator, seat_of, visitor_of
from techstone.control.console.session import PageRequest
from techstone.control.invoicing import months
from techstone.control.invoicing.documents import list_sums
from techstone.control.invoicing.statements import write_csv

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from techstone.control.invoicing.ports import Printer
    from techstone.control.invoicing.records import InvoiceShown, Statement

_OWN, _ALL = "/console/billing", "/console/operate"


def route_documents(pages: Pages, printer: Printer) -> Router:
    """Return the routes of documents."""
    return Router(
        "/console",
        route_handlers=[*_list_own(pages, printer), *_list_statements(pages), *_list_all(pages, printer)],
    )


def _list_own(pages: Pages, printer: Printer) -> list[HTTPRouteHandler]:
    invoices = pages.services.invoices

    @get("/billing/invoices/{number:str}")
    async def show(request: PageRequest, number: FromPath[str]) -> Response[str]:
        seat = seat_of(request, "billing.read")
        return _show(pages, request, await invoices.show(number, seat.account), _OWN)

    @get("/billing/invoices/{number:str}/pdf")
    async def fetch(request: PageRequest, number: FromPath[str]) -> Response[bytes]:
        seat = seat_of(request, "billing.read")
        return await _print(printer, await invoices.show(number, seat.account))

    return [show, fetch]


def _list_all(pages: Pages, printer: Printer) -> list[HTTPRouteHandler]:
    services, shell = pages.services, pages.shell

    @get("/operate/payments")
    async def list_payments(request: PageRequest) -> Response[str]:
        visitor = require_operator(request)
        return shell.show(
            request,
            "operate/payments.html",
            visitor,
            payments=await services.top_ups.list(),
            on=services.top_ups.processor is not None,
        )

    @get("/operate/invoices")
    async def list_invoices(request: PageRequest) -> Response[str]:
        visitor = require_operator(request)
        return shell.show(
            request,
            "operate/invoices.html",
            visitor,
            documents=await services.invoices.list(None),
            on=services.invoices.on,
        )

    @get("/operate/invoices/{number:str}")
    async def show(request: PageRequest, number: FromPath[str]) -> Response[str]:
        require_operator(request)
        return _show(pages, request, await services.invoices.show(number), _ALL)

    @get("/operate/invoices/{number:str}/pdf")
    async def fetch(request: PageRequest, number: FromPath[str]) -> Response[bytes]:
        require_operator(request)
        return await _print(printer, await services.invoices.show(number))

    return [list_payments, list_invoices, show, fetch]


def _show(pages: Pages, request: PageRequest, invoice: InvoiceShown, place: str) -> Response[str]:
    back = place if place == _OWN else f"{place}/invoices"
    return pages.shell.show(
        request,
        "billing/invoice.html",
        visitor_of(request),
        invoice=invoice,
        sums=list_sums(invoice),
        counted=any(line.requests is not None for line in invoice.lines),
        back=back,
        file=f"{place}/invoices/{invoice.number}/pdf",
    )


async def _print(printer: Printer, invoice: InvoiceShown) -> Response[bytes]:
    headers = {"content-disposition": f'attachment; filename="{invoice.number}.pdf"', "cache-control": "no-store"}
    return Response(await printer.print_invoice(invoice), media_type="application/pdf", headers=headers)


def _list_statements(pages: Pages) -> list[HTTPRouteHandler]:
    services = pages.services

    async def ask(request: PageRequest, month: str) -> Statement:
        seat = seat_of(request, "billing.read")
        return await services.statements.show(await services.accounts.find(seat.account), month or None)

    @get("/billing/statements")
    async def show(request: PageRequest, month: FromQuery[str] = "") -> Response[Any]:
        statement = await ask(request, month)
        newest = months.name(services.now())
        return pages.shell.show(
            request,
            "billing/statement.html",
            visitor_of(request),
            statement=statement,
            before=months.step(statement.month, -1),
            after=months.step(statement.month) if statement.month < newest else "",
        )

    @get("/billing/statements.csv")
    async def export(request: PageRequest, month: FromQuery[str] = "") -> Response[str]:
        statement = await ask(request, month)
        headers = {
            "content-disposition": f'attachment; filename="statement-{statement.month}.csv"',
            "cache-control": "no-store",
        }
        return Response(write_csv(statement), media_type="text/csv", headers=headers)

    return [show, export]
