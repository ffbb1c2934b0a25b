"""Limit how many bytes of history each user and each address reads."""

import time
from collections import OrderedDict
from collections.abc import Callable

from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import UserId
from gifchat_rooms_api.domain.byte_budget import ByteBudget, ByteRate

MAX_SUBJECTS = 10_000


class LimitReads:
    """Budgets of this process only. They protect its event loop, and a look-up in Redis would cost more than a page.

    An answer is charged when it is made. Answers under way at the same time may therefore exceed a budget, each by at
    most a page. The debt is paid off before the next read.
    """

    def __init__(
        self,
        per_user: ByteRate,
        per_address: ByteRate,
        clock: Callable[[], float] = time.monotonic,
        max_subjects: int = MAX_SUBJECTS,
    ) -> None:
        self._rates = (per_user, per_address)
        self._clock = clock
        self._max_subjects = max_subjects
        self._budgets: OrderedDict[tuple[ByteRate, str], ByteBudget] = OrderedDict()

    def check(self, user_id: UserId, address: str) -> None:
        """Check that both budgets have something left.

        Raises:
            Refused: `RATE_LIMITED`, with the seconds to wait.
        """
        now_s = self._clock()
        wait_s = max(
            self._budget(rate, subject, now_s).wait_s(rate)
            for rate, subject in zip(self._rates, (user_id, address), strict=True)
        )
        if wait_s > 0:
            raise Refused(errors.RATE_LIMITED, wait_s)

    def charge(self, user_id: UserId, address: str, size: int) -> None:
        """Charge an answer of `size` bytes to both budgets."""
        now_s = self._clock()
        for rate, subject in zip(self._rates, (user_id, address), strict=True):
            charged = self._budget(rate, subject, now_s).charged(size)
            self._budgets.pop((rate, subject), None)
            self._budgets[rate, subject] = charged
        while len(self._budgets) > self._max_subjects:
            self._budgets.popitem(last=False)

    def _budget(self, rate: ByteRate, subject: str, now_s: float) -> ByteBudget:
        found = self._budgets.get((rate, subject))
        return ByteBudget(rate.burst, now_s) if found is None else found.refilled(rate, now_s)
