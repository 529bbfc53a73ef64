package connectors

import "math/big"

// Unscaled gives the number of a Decimal without its point: big-endian two's complement, as Value.Str holds it; empty is 0.
func Unscaled(b string) *big.Int {
	n := new(big.Int).SetBytes([]byte(b))
	if b != "" && b[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(len(b))*8))
	}
	return n
}

// AppendUnscaled appends n as the shortest big-endian two's complement, which Dec takes.
func AppendUnscaled(dst []byte, n *big.Int) []byte {
	bits := n.BitLen()
	if n.Sign() < 0 {
		bits = new(big.Int).Not(n).BitLen() // of -n-1
	}
	size := bits/8 + 1
	m := n
	if n.Sign() < 0 {
		m = new(big.Int).Add(n, new(big.Int).Lsh(big.NewInt(1), uint(size)*8))
	}
	at := len(dst)
	dst = append(dst, make([]byte, size)...)
	m.FillBytes(dst[at:])
	return dst
}
