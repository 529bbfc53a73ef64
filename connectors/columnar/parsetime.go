package columnar

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// ParseDate reads a date as the log of a Delta table has it, [+-]YYYY…-MM-DD, and gives its days since the epoch.
func ParseDate(s string) (days int64, ok bool) {
	sign := int64(1)
	rest := s
	if len(s) > 1 && (s[0] == '-' || s[0] == '+') {
		if s[0] == '-' {
			sign = -1
		}
		rest = s[1:]
	}
	parts := strings.Split(rest, "-")
	if len(parts) != 3 {
		return 0, false
	}
	y, err1 := strconv.ParseInt(parts[0], 10, 32)
	m, err2 := strconv.Atoi(parts[1])
	d, err3 := strconv.Atoi(parts[2])
	if err1 != nil || err2 != nil || err3 != nil || len(parts[0]) < 4 || len(parts[0]) > 7 || m < 1 || m > 12 || d < 1 || d > 31 {
		return 0, false
	}
	t := time.Date(int(sign*y), time.Month(m), d, 0, 0, 0, 0, time.UTC)
	if t.Day() != d {
		return 0, false
	}
	return floorDiv(t.Unix(), 86400), true
}

// maxDays is how many days from the epoch microseconds reach, less one.
const maxDays = math.MaxInt64/86_400_000_000 - 1

// ParseTimestamp reads a time as the log of a Delta table has it, and gives its microseconds since the epoch: a date, "T" or a blank, a clock with up
// to nine digits behind the point, and where zone is true an offset or Z (none means UTC). A date alone is its midnight.
func ParseTimestamp(s string, zone bool) (us int64, ok bool) {
	at := strings.IndexAny(s, "T ")
	if at < 0 {
		days, ok := ParseDate(s)
		return days * 86_400_000_000, ok && max(days, -days) < maxDays
	}
	days, ok := ParseDate(s[:at])
	if !ok {
		return 0, false
	}
	clock, offset := s[at+1:], int64(0)
	if zone {
		if c, z := strings.CutSuffix(clock, "Z"); z {
			clock = c
		} else if i := strings.LastIndexAny(clock, "+-"); i > 0 {
			o, good := parseOffset(clock[i:])
			if !good {
				return 0, false
			}
			clock, offset = clock[:i], o
		}
	}
	hms, frac, _ := strings.Cut(clock, ".")
	parts := strings.Split(hms, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return 0, false
	}
	var n [3]int64
	for i, p := range parts {
		x, err := strconv.ParseUint(p, 10, 8)
		if err != nil || len(p) > 2 {
			return 0, false
		}
		n[i] = int64(x)
	}
	if n[0] > 24 || n[1] > 59 || n[2] > 60 || len(frac) > 9 {
		return 0, false
	}
	micros := int64(0)
	if frac != "" {
		x, err := strconv.ParseUint((frac + "000000000")[:9], 10, 32)
		if err != nil {
			return 0, false
		}
		micros = int64(x) / 1000
	}
	if max(days, -days) >= maxDays {
		return 0, false
	}
	return ((days*24+n[0])*60+n[1])*60_000_000 + n[2]*1_000_000 + micros - offset, true
}

func parseOffset(s string) (us int64, ok bool) {
	for _, layout := range []string{"-07:00", "-0700", "-07"} {
		if t, err := time.Parse(layout, s); err == nil {
			_, secs := t.Zone()
			return int64(secs) * 1_000_000, true
		}
	}
	return 0, false
}
