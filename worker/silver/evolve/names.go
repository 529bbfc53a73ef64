package evolve

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"strconv"
	"strings"
	"unicode/utf8"

	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/schema"
)

// The columns that silver adds to those of the source.
const (
	ColOperation = "_cdc_operation"
	ColTimestamp = "_cdc_timestamp"
	ColEventID   = "_event_id"
	ColSequence  = "_cdc_sequence"
	// ColRescued holds, as a JSON object by column, values that did not fit. It is there once one was seen.
	ColRescued = "_rescued_data"
	// ColCarried remembers of a row whose event did not tell all values from which sequence the others were carried over.
	// It is there once an event with unknown values was seen.
	ColCarried = "_cdc_carried"
	// ColSource names the source table of a row whose topic does not tell it: another one had come through it before. It is there once there was such a row.
	ColSource = "_cdc_source"
	// ColDeleted marks deleted rows under silver.delete.mode=soft.
	ColDeleted = "_cdc_deleted"
	// ColStart and ColEnd bound the validity of a version under silver.scd.type=2.
	ColStart, ColEnd = "__START_AT", "__END_AT"
	// ColEndSequence is the sequence of the event that ended a version. Only histories have it.
	ColEndSequence = "_cdc_end_sequence"
)

// reserved names cannot be those of source columns: ours, and those of Delta's change data feed.
var reserved = map[string]bool{
	ColOperation: true, ColTimestamp: true, ColEventID: true, ColSequence: true, ColRescued: true, ColCarried: true,
	ColSource: true, ColDeleted: true, "__start_at": true, "__end_at": true, ColEndSequence: true,
	"_change_type": true, "_commit_version": true, "_commit_timestamp": true,
}

// Reserved tells whether a column of this name is not the source's.
func Reserved(name string) bool { return reserved[strings.ToLower(name)] }

// EscapeName gives the name under which a source's column can stand in a Delta table without column mapping. Characters
// that Parquet forbids are written _xHHHH_ (four or more upper-case hex digits of the code point, as XML names are), and so
// is the underscore of what would be read as such; UnescapeName takes it back.
func EscapeName(name string) string {
	if name == "" {
		return "_x_"
	}
	clean := !Reserved(name)
	for i := 0; clean && i < len(name); i++ {
		clean = !forbidden(rune(name[i])) && !(name[i] == '_' && escapeLen(name[i:]) > 0)
	}
	if clean {
		return name
	}
	// What is escaped begins with an underscore, which may end what then looks like an escape: "_x0000 " would.
	shown := strings.Map(func(r rune) rune {
		if forbidden(r) {
			return '_'
		}
		return r
	}, name)
	var b strings.Builder
	for i, r := range name {
		if forbidden(r) || r == '_' && (escapeLen(shown[i:]) > 0 || i == 0 && Reserved(name)) {
			fmt.Fprintf(&b, "_x%04X_", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// UnescapeName gives the source's name of a column.
func UnescapeName(col string) string {
	if !strings.Contains(col, "_x") {
		return col
	}
	if col == "_x_" {
		return ""
	}
	var b strings.Builder
	for i := 0; i < len(col); {
		if n := escapeLen(col[i:]); n > 0 && n > len("_x_") {
			v, _ := strconv.ParseUint(col[i+2:i+n-1], 16, 32)
			b.WriteRune(rune(v))
			i += n
			continue
		}
		_, n := utf8.DecodeRuneInString(col[i:])
		b.WriteString(col[i : i+n])
		i += n
	}
	return b.String()
}

func forbidden(r rune) bool { return strings.ContainsRune(" ,;{}()\n\t=", r) }

// escapeLen is the length of the _xHHHH_ (or _x_) at the start of s, 0 where there is none.
func escapeLen(s string) int {
	if !strings.HasPrefix(s, "_x") {
		return 0
	}
	for i := 2; i < len(s) && i < 9; i++ {
		c := s[i]
		if c == '_' {
			if i == 2 || i >= 6 {
				return i + 1
			}
			return 0
		}
		if !(c >= '0' && c <= '9' || c >= 'A' && c <= 'F') {
			return 0
		}
	}
	return 0
}

// caseName is the name of a column that differs from one that is there already only by case: a hash of the exact name is
// appended, so that it is the same whenever it appears.
func caseName(col string) string {
	return fmt.Sprintf("%s_%08x", col, crc32.ChecksumIEEE([]byte(col)))
}

// physicalPrefix begins the names that columns have in files where they are not their own; Spark and the kernels make such too.
const physicalPrefix = "col-"

// SourceName gives the source's name of a column, or of a member of a struct. A column that was renamed in the table is still the source's of its first name:
// the name that we noted, or the one that it has in files since before the table had column mapping.
func SourceName(f *schema.Field) string {
	if name, ok := text(f.Metadata[MetaName]); ok {
		return name
	}
	physical, ok := text(f.Metadata[columnar.KeyPhysicalName])
	switch {
	case !ok:
		return UnescapeName(f.Name)
	case strings.HasPrefix(physical, physicalPrefix) && len(physical) == len(physicalPrefix)+36:
		return f.Name // others added it
	}
	return UnescapeName(physical)
}

// text gives a text of a field's metadata.
func text(raw json.RawMessage) (string, bool) {
	if n := len(raw); n >= 2 && raw[0] == '"' && raw[n-1] == '"' && !strings.Contains(string(raw), `\`) {
		return string(raw[1 : n-1]), true
	}
	var s string
	ok := raw != nil && json.Unmarshal(raw, &s) == nil
	return s, ok
}

// remember notes the source's name of a column.
func remember(f *schema.Field, source string) {
	raw, err := json.Marshal(source)
	if err != nil {
		return // a string always has a text
	}
	f.Metadata = maps.Clone(f.Metadata)
	if f.Metadata == nil {
		f.Metadata = map[string]json.RawMessage{}
	}
	f.Metadata[MetaName] = raw
}

// members gives for each member of a source's struct that of the table's, -1 for none: the one of its name, else one whose name differs by case only and that
// is no other's.
func members(table, source []schema.Field) []int {
	out := make([]int, len(source))
	taken := make([]bool, len(table))
	names := make([]string, len(table))
	for k := range table {
		names[k] = SourceName(&table[k])
	}
	find := func(equal func(a, b string) bool) {
		for i := range source {
			for k := 0; k < len(table) && out[i] < 0; k++ {
				if !taken[k] && equal(names[k], source[i].Name) {
					out[i], taken[k] = k, true
				}
			}
		}
	}
	for i := range out {
		out[i] = -1
	}
	find(func(a, b string) bool { return a == b })
	find(strings.EqualFold)
	return out
}
