package delta

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sluice.io/sluice/connectors/store"
)

const logDir = "_delta_log/"

// fileKind is what a file of the log is, by its name.
type fileKind uint8

const (
	commitFile     fileKind = iota
	checkpointV1            // <v>.checkpoint.parquet: V1, or V2 under the classic name
	checkpointPart          // <v>.checkpoint.<o>.<p>.parquet
	checkpointV2            // <v>.checkpoint.<uuid>.{json,parquet}
	compactedFile           // <x>.<y>.compacted.json
	checksumFile            // <v>.crc
)

// logFile is a file of the log.
type logFile struct {
	kind        fileKind
	version     int64
	last        int64 // of a compaction: its end
	part, parts int   // of a multi-part checkpoint
	info        store.Info
}

// parseLogName understands a name below _delta_log. Names that mean nothing to us (temporary files, dot files, staged
// commits, sidecars) give false.
func parseLogName(name string) (logFile, bool) {
	if len(name) < 21 || name[20] != '.' {
		return logFile{}, false
	}
	v, ok := version20(name[:20])
	if !ok {
		return logFile{}, false
	}
	f := logFile{version: v}
	rest := name[21:]
	switch rest {
	case "json":
		f.kind = commitFile
		return f, true
	case "crc":
		f.kind = checksumFile
		return f, true
	case "checkpoint.parquet":
		f.kind = checkpointV1
		return f, true
	}
	if y, ok := strings.CutSuffix(rest, ".compacted.json"); ok {
		f.last, ok = version20(y)
		f.kind = compactedFile
		return f, ok && f.last > f.version
	}
	rest, ok = strings.CutPrefix(rest, "checkpoint.")
	if !ok {
		return logFile{}, false
	}
	fields := strings.Split(rest, ".")
	switch {
	case len(fields) == 3 && fields[2] == "parquet" && len(fields[0]) == 10 && len(fields[1]) == 10:
		part, err1 := strconv.ParseUint(fields[0], 10, 31)
		parts, err2 := strconv.ParseUint(fields[1], 10, 31)
		f.kind, f.part, f.parts = checkpointPart, int(part), int(parts)
		return f, err1 == nil && err2 == nil && part >= 1 && part <= parts
	case len(fields) == 2 && (fields[1] == "json" || fields[1] == "parquet") && len(fields[0]) == 36:
		f.kind = checkpointV2
		return f, true
	}
	return logFile{}, false
}

func version20(s string) (int64, bool) {
	if len(s) != 20 {
		return 0, false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	v, err := strconv.ParseInt(s, 10, 64)
	return v, err == nil
}

func versionName(v int64) string { return fmt.Sprintf("%020d", v) }

// checkpointSet is a checkpoint whose files are all there.
type checkpointSet struct {
	version int64
	files   []logFile // more than one of a multi-part checkpoint
}

// logListing is what a listing of the log from some version on has shown.
type logListing struct {
	from        int64
	commits     map[int64]store.Info
	last        int64           // the newest commit, -1 for none
	first       int64           // the oldest commit, -1 for none
	checkpoints []checkpointSet // newest first; of one version the best first
	incomplete  []checkpointSet // multi-part checkpoints that lack a part
	compacted   []logFile
	others      int // files that are not of the log's own
}

// list reads the names of the log from version from on.
func (t *Table) list(ctx context.Context, from int64) (*logListing, error) {
	l := &logListing{from: from, commits: map[int64]store.Info{}, last: -1, first: -1}
	prefix := t.key(logDir)
	after := ""
	if from > 0 {
		after = prefix + versionName(from)
	}
	parts := map[[2]int64][]logFile{}
	for info, err := range t.bucket.List(ctx, prefix, after) {
		if err != nil {
			return nil, fmt.Errorf("list the log of %s: %w", t.URL(), err)
		}
		name := strings.TrimPrefix(info.Key, prefix)
		if name > ":" { // beyond all names that begin with a digit
			break
		}
		f, ok := parseLogName(name)
		if !ok {
			l.others++
			continue
		}
		f.info = info
		switch f.kind {
		case commitFile:
			l.commits[f.version] = info
			l.last = max(l.last, f.version)
			if l.first < 0 || f.version < l.first {
				l.first = f.version
			}
		case checkpointV1, checkpointV2:
			if info.Size > 0 { // an empty file is a write that failed on a store without atomic writes
				l.checkpoints = append(l.checkpoints, checkpointSet{f.version, []logFile{f}})
			}
		case checkpointPart:
			id := [2]int64{f.version, int64(f.parts)}
			parts[id] = append(parts[id], f)
		case compactedFile:
			l.compacted = append(l.compacted, f)
		}
	}
	for id, fs := range parts {
		slices.SortFunc(fs, func(a, b logFile) int { return a.part - b.part })
		complete := int64(len(fs)) == id[1]
		for i, f := range fs {
			complete = complete && f.part == i+1
		}
		if set := (checkpointSet{id[0], fs}); complete {
			l.checkpoints = append(l.checkpoints, set)
		} else { // readers must ignore it
			l.incomplete = append(l.incomplete, set)
		}
	}
	slices.SortFunc(l.incomplete, func(a, b checkpointSet) int {
		return cmp.Or(cmp.Compare(b.version, a.version), a.files[0].parts-b.files[0].parts)
	})
	slices.SortStableFunc(l.checkpoints, func(a, b checkpointSet) int {
		if a.version != b.version {
			return int(max(-1, min(1, b.version-a.version)))
		}
		return a.rank() - b.rank()
	})
	return l, nil
}

// rank prefers, of one version, V2 checkpoints, then the classic one, then parts.
func (c checkpointSet) rank() int {
	switch c.files[0].kind {
	case checkpointV2:
		return 0
	case checkpointV1:
		return 1
	}
	return 2 + len(c.files)
}

// hint is the content of _last_checkpoint.
type hint struct {
	Version, Size              int64
	Parts                      int64
	SizeInBytes, NumOfAddFiles int64
}

// readHint reads _last_checkpoint: nil where it is missing or makes no sense. It is a hint, and no more.
func (t *Table) readHint(ctx context.Context) (*hint, error) {
	data, err := t.bucket.Get(ctx, t.key(logDir+"_last_checkpoint"))
	if err != nil {
		if errors.Is(err, store.ErrNotFound) {
			return nil, nil
		}
		if ctx.Err() != nil || errors.Is(err, store.ErrPermission) {
			return nil, fmt.Errorf("open delta table %s: %w", t.URL(), err)
		}
		return nil, nil
	}
	return parseHint(data), nil
}

func parseHint(data []byte) *hint {
	var p parser
	v, err := p.json.ParseBytes(data)
	if err != nil {
		return nil
	}
	f := fields{v: v}
	ver := f.intPtr("version")
	if ver == nil || *ver < 0 {
		return nil
	}
	// Only the version is believed; the rest is for show.
	h := &hint{Version: *ver, Size: f.int("size"), Parts: f.int("parts"), SizeInBytes: f.int("sizeInBytes"),
		NumOfAddFiles: f.int("numOfAddFiles")}
	return h
}
