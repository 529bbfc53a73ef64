package js

import "testing"

func TestFlatten(t *testing.T) {
	t.Parallel()
	for _, x := range []struct{ name, in, want string }{
		{"no document", `[1]`, `[1]`},
		{"nothing to do", `{"_id":{"k":1},"a":1}`, `{"_id":{"k":1},"a":1}`},
		{"documents in documents", `{"a":{"b":1,"c":{"d":[2]}}}`, `{"a_b":1,"a_c_d":[2]}`},
		{"scalars of extended JSON", `{"a":{"$oid":"x"},"b":{"c":{"$date":1}}}`, `{"a":{"$oid":"x"},"b_c":{"$date":1}}`},
		{"a name that another has", `{"a_b":1,"a":{"b":2}}`, `{"a_b":1,"a":{"b":2}}`},
		// Was: the names of documents in one that had to stay were taken all the same, and so another stayed.
		{"names of what stays are free", `{"a":{"b":{"c":1},"x":2},"a_x":3,"a_b":{"c":4}}`, `{"a":{"b":{"c":1},"x":2},"a_x":3,"a_b_c":4}`},
	} {
		if got := Flatten(x.in); got != x.want {
			t.Errorf("%s: %s", x.name, got)
		}
	}
}
