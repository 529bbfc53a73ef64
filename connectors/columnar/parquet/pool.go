package parquet

import (
	"math/bits"
	"sync"
	"unsafe"
)

const (
	minBlock = 4 << 10 // smaller memory is not worth keeping
	maxBlock = 8 << 20 // larger is rare: kept, it would only be in the way
	// maxPooled bounds what a Pool keeps for later.
	maxPooled = 32 << 20
)

// Pool keeps memory that is done with for what is read next. Any number of goroutines may use one. A nil Pool, and the nil
// Lease that it gives, make new memory each time and leave the old to the collector.
type Pool struct {
	mu   sync.Mutex
	free [48][][]byte // by class
	held int
}

// Lease holds memory that is given back together. It belongs to one goroutine at a time.
type Lease struct {
	pool   *Pool
	blocks [][]byte
}

// Lease begins a lease.
func (p *Pool) Lease() *Lease {
	if p == nil {
		return nil
	}
	return &Lease{pool: p}
}

// Done gives the memory back: nobody may use it any more.
func (l *Lease) Done() {
	if l == nil {
		return
	}
	for _, b := range l.blocks {
		l.pool.put(b)
	}
	l.blocks = nil
}

// classOf gives the class of blocks of at least n bytes, and their size. There are four classes for each power of two.
func classOf(n int) (class, size int) {
	if n <= minBlock {
		return 0, minBlock
	}
	step := bits.Len(uint(n-1)) - 3 // a quarter of the power of two below
	quarters := (n - 1) >> step     // 4…7
	return 4*(step-10) + quarters - 3, (quarters + 1) << step
}

// take gives a block of at least n bytes; what it holds is whatever.
func (p *Pool) take(n int) []byte {
	class, size := classOf(n)
	if p == nil || n > maxBlock {
		return Raw[byte](n)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.free[class]; len(f) > 0 {
		b := f[len(f)-1]
		f[len(f)-1] = nil
		p.free[class] = f[:len(f)-1]
		p.held -= cap(b)
		return b
	}
	return Raw[byte](size)
}

// put keeps a block, if it is of use.
func (p *Pool) put(b []byte) {
	if p == nil || cap(b) < minBlock || cap(b) > maxBlock {
		return
	}
	class, size := classOf(cap(b))
	if size > cap(b) {
		class--
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held+cap(b) > maxPooled {
		return
	}
	p.held += cap(b)
	p.free[class] = append(p.free[class], b[:0])
}

// adopt makes memory from elsewhere a part of the lease.
func (l *Lease) adopt(b []byte) {
	if l != nil {
		l.blocks = append(l.blocks, b)
	}
}

// RawIn is Raw in the memory of a lease.
func RawIn[T any](l *Lease, n int) []T {
	var z T
	size := n * int(unsafe.Sizeof(z))
	if l == nil || size < minBlock/4 || size > maxBlock {
		return Raw[T](n)
	}
	b := l.pool.take(size)
	l.blocks = append(l.blocks, b)
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b[:1]))), cap(b)/int(unsafe.Sizeof(z)))[:0]
}
