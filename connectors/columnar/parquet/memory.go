package parquet

import (
	"strings"
	"unsafe"
)

// Raw gives an empty slice with room for n values of a type without pointers. The memory is not cleared: append to it, or write before
// reading.
func Raw[T any](n int) []T {
	var z T
	if n == 0 {
		return nil
	}
	var b strings.Builder // the only maker of memory that is not cleared
	b.Grow(n * int(unsafe.Sizeof(z)))
	b.WriteByte(0)
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.StringData(b.String()))), n)[:0]
}

// castTo views the first n elements of b's memory as T.
func castTo[T uint32 | uint64](b []byte, n int) []T {
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), n)
}

// aligned tells whether b's memory may be viewed as words of the size.
func aligned(b []byte, size uintptr) bool {
	return uintptr(unsafe.Pointer(unsafe.SliceData(b)))%size == 0
}

// copy16 copies 16 bytes; both slices have the capacity for them.
func copy16(dst []byte, at int, src []byte, from int) {
	d := dst[at : at+16 : cap(dst)]
	*(*[16]byte)(d) = *(*[16]byte)(src[from : from+16])
}

// shortValue is how long a value is that copyShort takes.
const shortValue = 32

// copyShort copies values that are short, each with its length before it, as PLAIN has them, from src[p:] on to data[dp:], and notes where
// they end, until a value is long or source or target have no room left for copying more than is asked for. It tells how many there were,
// and where it stands. It may run over the end of a page into the slack behind: who calls sees that p is too large.
func copyShort(offs []int32, data []byte, dp int, src []byte, p int) (n, np, ndp int) {
	lastP, lastDP := len(src)-4-shortValue, len(data)-shortValue
	to, from, ends := unsafe.Pointer(unsafe.SliceData(data)), unsafe.Pointer(unsafe.SliceData(src)), unsafe.Pointer(unsafe.SliceData(offs))
	for n < len(offs) && uint(p) <= uint(lastP) && uint(dp) <= uint(lastDP) && lastP >= 0 && lastDP >= 0 {
		at := unsafe.Add(from, p)
		l := int(*(*uint32)(at))
		if l > shortValue {
			break
		}
		*(*[16]byte)(unsafe.Add(to, dp)) = *(*[16]byte)(unsafe.Add(at, 4))
		if l > 16 {
			*(*[16]byte)(unsafe.Add(to, dp+16)) = *(*[16]byte)(unsafe.Add(at, 20))
		}
		p += 4 + l
		dp += l
		*(*int32)(unsafe.Add(ends, 4*n)) = int32(dp)
		n++
	}
	return n, p, dp
}
