"""Sizes and times that services, nginx and pages must agree on."""

TITLE_MAX_CHARS = 80
"""Grapheme clusters: characters as people count them. An emoji of several code points counts once."""
TITLE_MAX_BYTES = 1_024
"""UTF-8. 80 grapheme clusters can have any size, and every visitor of the lobby gets every title."""
ROOM_MAX_MIN = 2
ROOM_MAX_MAX = 100_000
ROOM_MAX_DEFAULT = 10
PASSWORD_MAX_CHARS = 128
SLOW_MODE_MAX_S = 3_600

TEXT_MAX_CHARS = 2_000
"""Grapheme clusters, as for titles."""
TEXT_MAX_BYTES = 16 * 1024
"""UTF-8. A grapheme cluster can have any size. 16 KiB hold 2,000 of nearly every kind."""
TEXT_MAX_LINE_BREAKS = 100
"""A message of 2,000 empty lines would push everybody else's messages off the screen."""
MARKS_MAX = 8
"""Marks and invisible characters in a row. The longest real stack, a Tibetan syllable, has 8 marks."""
RAW_CHARS_PER_BYTE = 2
"""At most this many code points of a raw text become one byte of the mended text: CR LF becomes one line feed."""
SOCKET_MESSAGE_MAX_BYTES = 64 * 1024

GIF_MAX_BYTES = 10 * 1024 * 1024
GIF_MAX_SIDE = 4_096
GIF_MAX_FRAMES = 1_000
GIF_MAX_TOTAL_PIXELS = 250_000_000
"""Width x height x frames. Enough for 180 frames of 1080 x 1080, which are decoded one by one."""

ROOMS_OF_A_SESSION = 50
"""How many rooms one session can be in at once."""

HISTORY_PAGE_DEFAULT = 50
HISTORY_PAGE_MAX = 500
ROOMS_PAGE_DEFAULT = 20
ROOMS_PAGE_MAX = 100
RECENT_ON_JOIN = 50
RING_EVENTS = 512

TICKET_TTL_S = 60
GRANT_TTL_S = 12 * 3_600
MEMBERSHIP_TTL_S = 12 * 3_600

PRESENCE_ONE_BY_ONE_MEMBERS = 100
"""Up to this many members, joins and exits are announced one by one, and typing is forwarded."""
PRESENCE_DIFFERENCE_MEMBERS = 1_000
"""Up to this many members, all members learn every second who joined and left. A larger room gets only the count."""

LEASE_TTL_S = 10.0
LEASE_RENEW_S = 3.0
SEAT_GRACE_S = 10.0
READMISSION_S = 1.5
"""The last part of a recovery, in which nodes with expired leases get seats back before new users are admitted."""
RECOVERING_S = LEASE_TTL_S + 1.0 + READMISSION_S
"""How long new users cannot enter after Redis restarted empty.

For `LEASE_TTL_S` and a margin of 1 s, nodes with valid leases register their seats. Then `READMISSION_S` begins.
"""
