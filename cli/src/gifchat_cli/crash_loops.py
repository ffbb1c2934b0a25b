"""Handles crash loops: nginx skips the process, or the cluster stops."""

import asyncio
from collections.abc import Callable

from gifchat_cli.child import Child
from gifchat_cli.kinds import Kind
from gifchat_cli.logs import tail
from gifchat_cli.restart_policy import MAX_DELAY_S
from gifchat_cli.roster import Roster

_LAST_LINES = 20


class CrashLoops:
    """Hides processes in a crash loop from nginx until they recover."""

    def __init__(self, roster: Roster, say: Callable[[str], None], reload_nginx: Callable[[], None]) -> None:
        """`reload_nginx` is called when the roster's hidden processes have changed."""
        self._roster = roster
        self._say = say
        self._reload_nginx = reload_nginx
        self.fatal: asyncio.Future[Child] = asyncio.get_running_loop().create_future()
        """Done when a kind has no process left that can serve. Its result is a process of this kind in a crash loop."""

    def on_crash_loop(self, child: Child) -> bool:
        """Hide a crashing process. Return whether to keep restarting it: False if no other of its kind can serve."""
        self._roster.looping.add(child.spec.name)
        if self._stop_unless_served(child.spec.kind, child):
            return False
        sentence = f"nginx skips {child.spec.name}, which is restarted at least every {MAX_DELAY_S:g} s."
        self._say(with_last_lines(sentence, child))
        self._reload_nginx()
        return True

    def on_ready(self, child: Child) -> None:
        """Let nginx route to a process again, if it was drained or in a crash loop before this start."""
        name = child.spec.name
        recovered = name in self._roster.looping
        if not self._roster.show(name):
            return
        if recovered:
            self._say(f"{name} is ready again.")
        self._reload_nginx()

    def processes_removed(self) -> None:
        """Stop the cluster if the removed processes were the last ones that could serve."""
        for child in self._roster.children.values():
            if child.spec.name in self._roster.looping:
                self._stop_unless_served(child.spec.kind, child)

    def _stop_unless_served(self, kind: Kind, crashed: Child) -> bool:
        """If nginx can route to no process of this kind, stop the cluster because of `crashed` and return True."""
        if self._roster.serving(kind):
            return False
        if not self.fatal.done():
            self.fatal.set_result(crashed)
        return True


def with_last_lines(sentence: str, child: Child) -> str:
    """Append the end of a process's log to a sentence about it."""
    lines = tail(child.log_path, _LAST_LINES)
    return "\n".join([sentence, f"The last lines of {child.log_path}:", *(f"  {line}" for line in lines)])
