package worker

import (
	"math"
	"sync"
	"time"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/worker/bronze"
)

// feeds carry what was appended on this node to the table tasks of this node, in memory. They are a short cut only: what a
// feed does not have is read from the bronze files, so it may drop whatever it likes (D9).
type feeds struct {
	limit int64
	slabs *bronze.Slabs // where changes that all have merged go
	mu    sync.Mutex
	used  int64
	freed chan struct{} // closed and replaced whenever bytes come free
	m     map[feedKey]*feed
}

type feedKey struct {
	lake, path string
	// config is the version of the connector's configuration: changes in memory are transformed by it, and those who follow another
	// read the files (D7).
	config uint64
}

// feed is of one bronze table. It implements bronze.Hot.
type feed struct {
	fs *feeds

	mu        sync.Mutex
	versions  map[int64]hotVersion
	newest    int64 // newest version that was committed here
	coming    int64 // version that waits for room, -1: none
	followers map[*follower]struct{}
}

type hotVersion struct {
	changes [][]connectors.Change
	bytes   int64
}

func newFeeds(limit int64, slabs *bronze.Slabs) *feeds {
	return &feeds{limit: limit, slabs: slabs, freed: make(chan struct{}), m: map[feedKey]*feed{}}
}

func (fs *feeds) get(lake, path string, config uint64) *feed {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	k := feedKey{lake, path, config}
	f := fs.m[k]
	if f == nil {
		f = &feed{fs: fs, versions: map[int64]hotVersion{}, newest: -1, coming: -1, followers: map[*follower]struct{}{}}
		fs.m[k] = f
	}
	return f
}

// take waits until n bytes are free, at most for wait. What is larger than all is let in alone.
func (fs *feeds) take(n int64, wait time.Duration) bool {
	var timer <-chan time.Time
	for {
		fs.mu.Lock()
		if fs.used == 0 || fs.used+n <= fs.limit {
			fs.used += n
			fs.mu.Unlock()
			return true
		}
		freed := fs.freed
		fs.mu.Unlock()
		if timer == nil {
			timer = time.After(wait)
		}
		select {
		case <-freed:
		case <-timer:
			return false
		}
	}
}

func (fs *feeds) give(n int64) {
	if n == 0 {
		return
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.used -= n
	close(fs.freed)
	fs.freed = make(chan struct{})
}

func (fs *feeds) bytes() int64 {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.used
}

// Wanted implements bronze.Hot: somebody follows, and is not so far behind that it has to read files anyway.
func (f *feed) Wanted() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for x := range f.followers {
		if f.newest-x.at.Load() <= hotBehind {
			return true
		}
	}
	return false
}

// hotBehind is how many versions a follower may be behind and still get changes in memory.
const hotBehind = 8

// Offer implements bronze.Hot. The wait is a courtesy that pays: a follower that is a little behind would have to read and
// decode the version again.
func (f *feed) Offer(version int64, changes [][]connectors.Change, bytes int64, wait time.Duration) {
	if f.Wanted() {
		f.mu.Lock()
		f.coming = version
		f.mu.Unlock()
		room := f.fs.take(bytes, wait)
		f.mu.Lock()
		f.coming = -1
		if room {
			f.versions[version] = hotVersion{changes, bytes}
		}
		f.mu.Unlock()
		f.trim()
	}
	f.Skip(version)
}

// known gives the newest version that a follower should take, of those up to version, which the table has: one that is about to come
// in memory is worth the wait.
func (f *feed) known(version int64) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.coming >= 0 && f.coming <= version {
		return f.coming - 1
	}
	return version
}

// Skip implements bronze.Hot.
func (f *feed) Skip(version int64) {
	f.mu.Lock()
	f.newest = max(f.newest, version)
	for x := range f.followers {
		x.poke()
	}
	f.mu.Unlock()
}

// has gives a version's changes.
func (f *feed) has(version int64) (hotVersion, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v, ok := f.versions[version]
	return v, ok
}

func (f *feed) newestVersion() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.newest
}

// trim drops what all followers have merged.
func (f *feed) trim() {
	f.mu.Lock()
	least := int64(math.MaxInt64)
	for x := range f.followers {
		least = min(least, x.at.Load())
	}
	freed := int64(0)
	var done []hotVersion
	for v, h := range f.versions {
		if v <= least {
			freed += h.bytes
			delete(f.versions, v)
			done = append(done, h)
		}
	}
	none := len(f.followers) == 0
	f.mu.Unlock()
	for _, h := range done {
		if !none { // one that has just left may still look at them
			f.fs.slabs.Give(h.changes)
		}
	}
	f.fs.give(freed)
}

func (f *feed) follow(x *follower) {
	f.mu.Lock()
	f.followers[x] = struct{}{}
	f.mu.Unlock()
}

func (f *feed) unfollow(x *follower) {
	f.mu.Lock()
	delete(f.followers, x)
	f.mu.Unlock()
	f.trim()
}
