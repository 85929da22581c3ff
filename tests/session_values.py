"""The hostile values that a session log may hold, by what the data contract (Docs/DATA.md) makes of them."""

from __future__ import annotations

# fmt: off
#: Numbers of unusual form that are nevertheless numbers.
GOOD_NUMBERS = (
    "0", "-0", "-0.0", "+5", "5.", ".5", "007", "1E2", "2.5e+1", "1e-3", "0e999", "1e-310", "0.30000", "+.25E1",
)

#: Repaired as missing.
MISSING_NUMBERS = (
    "", "  ", '""', '" "', "NULL", "null", "Null", "N/A", "n/a", "NA", "NaN", "nan", "NAN", "None", "NONE", "-",
    '"NULL"', " -\t",
)

#: Repaired as not_a_number.
NOT_NUMBERS = (
    "abc", "inf", "-inf", "Infinity", "0x1F", "1_000", "--5", "+-5", "+", ".", "+.", "e5", "1e", "1e+", "1e5.0",
    "5..", "1.2.3", "5f", "1d", "5%", "$5", "NaN5", "nil", "#REF!", "true", "\uff11\uff12", "\u0663", "\xa05", "1 2",
    '"1,5"', '"1,000.5"', "5\x00", "\x005", "5\x0b", '5"', "−5", "\xb2",
)

#: Repaired as negative.
NEGATIVE_NUMBERS = (
    "-1", "-0.001", "-1e300", "-1e400", "-.5", "-5.", "-1e16",
)

#: Repaired as too_large.
TOO_LARGE_NUMBERS = (
    "1e16", "1e400", "+1e15000", "1000000000000001", "1000000000000000.5", "9" * 400, "1e" + "9" * 30,
)

#: Rejected with reason server_ip.
BAD_SERVERS = (
    "1.2.3", "256.1.1.1", "01.2.3.4", "1.2.3.4.5", "host", "ips", "serverip", "::1%eth0", "fe80::1%1", ":::", ":::1",
    "1.2.3.4:80", "1.2.3.+4", "[::1]", "1.2.3.4/32", "12345::", "1::2::3", "0x1.2.3.4", "1.2.3.-4", "1..3.4",
    "1.2.3.4.", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "0001.2.3.4", "::1.2.3.04", "::256.1.1.1",
    "NULL", "16909060", "\uff11.2.3.4", "", "1.2.3.4\x00", "1.2.3. 4", '"1.2.3.4,5"',
)

#: Rejected with reason session_start.
BAD_STARTS = (
    "NULL", "2016-06-01", "2016-06-01T00:00:00", "1464739200", "IPs", "sessionstart", "", "2016-02-30 00:00:00",
    "2015-02-29 12:00:00", "2016-13-01 00:00:00", "2016-00-10 00:00:00", "2016-06-00 00:00:00", "2016-06-31 00:00:00",
    "2016-06-01 24:00:00", "2016-06-01 00:60:00", "2016-06-01 23:59:60", "2016-6-1 0:00:00", "2016/06/01 00:00:00",
    "01.06.2016 00:00:00", "06/01/2016 00:00:00", "2016-06-01 00:00:00.000", "2016-06-01 00:00:00Z",
    "2016-06-01 00:00:00+00:00", "2016-06-01 00:00", "2016-06-01  00:00:00", "+016-06-01 00:00:00",
    "2016-06-01 -1:00:00", "2016-06- 1 00:00:00", "\uff12016-06-01 00:00:00", "2016-06-01 00:00:00\x00",
    "2016-06-01\t00:00:00",
)

#: Times that are possible, and far outside any period.
FAR_STARTS = (
    "0001-01-01 00:00:00", "1600-02-29 12:00:00", "1969-12-31 23:59:59", "9999-12-31 23:59:59",
)

#: Lines (of a log that ends them with LF) that are no rows.
BLANKS = (
    b"\n", b"\r\n", b"  \n", b"\t \r\n", b" \r\t\n",
)

#: Numbers whose meaning Docs/DATA.md leaves open: half-way cases of 14 digits, values that a double can't tell
#: from the limit, quotes after a space or before more text.
UNSETTLED = (
    "-1e-400", "1000000000000000.01", "100000000000005", "100000000000015", ' "5"', '"5"0', '"" ', '"5" ',
)
