package near

import "testing"

func TestNearest(t *testing.T) {
	known := []string{"bootstrap.servers", "client.id", "sasl.mechanism"}
	for _, c := range []struct {
		name string
		most int
		want string
	}{
		{"bootstrap.server", 2, "bootstrap.servers"},
		{"BOOTSTRAP_SERVERS", 0, "bootstrap.servers"},
		{"cleint.id", 1, "client.id"}, // a swap is one edit
		{"client", 2, ""},
		{"sasl.mecanisms", 2, "sasl.mechanism"},
		{"", 2, ""},
	} {
		if got := Nearest(c.name, known, c.most); got != c.want {
			t.Errorf("Nearest(%q, %d) = %q, want %q", c.name, c.most, got, c.want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b        string
		limit, want int
	}{
		{"", "", 5, 0}, {"abc", "abc", 5, 0}, {"abc", "", 5, 3}, {"ab", "ba", 5, 1}, {"kitten", "sitting", 5, 3}, {"kitten", "sitting", 2, 2}, {"a", "abcdef", 3, 3},
	} {
		if got := Distance(c.a, c.b, c.limit); got != c.want {
			t.Errorf("Distance(%q, %q, %d) = %d, want %d", c.a, c.b, c.limit, got, c.want)
		}
		if got := Distance(c.b, c.a, c.limit); got != c.want {
			t.Errorf("Distance(%q, %q, %d) = %d, want %d", c.b, c.a, c.limit, got, c.want)
		}
	}
}
