package columnar

import "testing"

func TestParseTimes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"1970-01-02": 1, "-0001-12-31": -719529, "0001-01-01": -719162, "+12345-06-07": 3789548, "2020-1-5": 18266} {
		if got, ok := ParseDate(text); !ok || got != want {
			t.Errorf("%s: %d, %v, want %d", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "2020-02-30", "2020-13-01", "20-01-01", "2020-01", "__HIVE_DEFAULT_PARTITION__", "12345678-01-01"} {
		if got, ok := ParseDate(text); ok {
			t.Errorf("%q: %d", text, got)
		}
	}
	for _, c := range []struct {
		text string
		zone bool
		want int64
	}{
		{"1970-01-01 00:00:00", true, 0}, {"1970-01-02", false, 86_400_000_000}, {"1969-12-31T23:59:59.999999Z", true, -1}, {"1970-01-01T05:30:00.5+05:30", true, 500_000},
		{"1970-01-01 00:00:00-0800", true, 8 * 3_600_000_000}, {"1970-01-01 00:00", false, 0}, {"0000-12-31 00:00:00", false, -719163 * 86_400_000_000},
	} {
		if got, ok := ParseTimestamp(c.text, c.zone); !ok || got != c.want {
			t.Errorf("%s: %d, %v, want %d", c.text, got, ok, c.want)
		}
	}
	for _, text := range []string{"1970-01-01T00:00:00Z", "2020-01-01 25:00:00", "2020-01-01 0:0:0.0000000001", "9999999-01-01", "9999999-01-01 00:00:00", "-9999999-01-01"} {
		if got, ok := ParseTimestamp(text, false); ok {
			t.Errorf("%q: %d", text, got)
		}
	}
}
