"""The life of a wallet: freeze, unfreeze, close."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from wallets.models.wallet import Wallet
from wallets.serializers.wallet import read_close, read_freeze, wallet_line
from wallets.services.wallets import life
from wallets.utils.caller import Caller
from wallets.views.http.body import read_object
from wallets.views.http.operation import SingleOperation
from wallets.views.http.request import ApiResponse, Request, json_response
from wallets.views.http.rest_framework import OperationView

# A wallet, and what the request says.
Asked = tuple[UUID, dict[str, str]]


class LifeOperation(SingleOperation[Asked, Wallet]):
    """A change of the wallet's life. Safe to repeat, without a key."""

    capability = "wallet_life"

    def read_body(self, body: Mapping[str, Any]) -> dict[str, str]:
        """Return what the request says."""
        return read_freeze(body)

    @abstractmethod
    def change(self, wallet: UUID, said: dict[str, str], actor: str) -> Wallet:
        """Call the service."""

    def read(self, request: Request, query: Mapping[str, Any]) -> Asked:
        said = self.read_body(read_object(request))
        return request.arguments["wallet_uuid"], said

    def wallets_of(self, call: Asked) -> Collection[UUID]:
        return call[:1]

    def one(self, call: Asked, caller: Caller) -> Wallet:
        return self.change(*call, caller.actor)

    def write(self, request: Request, call: Asked, result: Wallet) -> ApiResponse:
        return json_response(wallet_line(result))


class Freeze(LifeOperation):
    """Stop what comes in, what goes out, or both."""

    def change(self, wallet: UUID, said: dict[str, str], actor: str) -> Wallet:
        return life.freeze(
            wallet, said["direction"], reason=said["reason"], actor=actor
        )


class Unfreeze(LifeOperation):
    """End a freeze."""

    def change(self, wallet: UUID, said: dict[str, str], actor: str) -> Wallet:
        return life.unfreeze(
            wallet, said["direction"], reason=said["reason"], actor=actor
        )


class Close(LifeOperation):
    """Close the wallet for good."""

    def read_body(self, body: Mapping[str, Any]) -> dict[str, str]:
        return read_close(body)

    def change(self, wallet: UUID, said: dict[str, str], actor: str) -> Wallet:
        return life.close(wallet, reason=said["reason"], actor=actor)


class FreezeView(OperationView):
    """POST /wallets/<uuid>/freeze."""

    operations = (Freeze(),)


class UnfreezeView(OperationView):
    """POST /wallets/<uuid>/unfreeze."""

    operations = (Unfreeze(),)


class CloseView(OperationView):
    """POST /wallets/<uuid>/close."""

    operations = (Close(),)
