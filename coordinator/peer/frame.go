package peer

import (
	"encoding/binary"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"
)

// Version of the requests that this binary sends and answers.
const Version = 1

// First byte of a connection. Numbers are never reused.
const (
	streamRaft byte = 1
	streamRPC  byte = 2
)

// maxFrame bounds a message: a configuration of some megabytes, or the loads of all tasks of a node.
const maxFrame = 64 << 20

func writeFrame(w io.Writer, m proto.Message) error {
	buf, err := proto.MarshalOptions{}.MarshalAppend(make([]byte, 4), m)
	if err != nil {
		return fmt.Errorf("marshal message: %w", err)
	}
	if len(buf)-4 > maxFrame {
		return fmt.Errorf("message of %d bytes is too large", len(buf)-4)
	}
	binary.BigEndian.PutUint32(buf, uint32(len(buf)-4))
	_, err = w.Write(buf)
	return err
}

func readFrame(r io.Reader, m proto.Message) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxFrame {
		return fmt.Errorf("peer announces a message of %d bytes", n)
	}
	buf := make([]byte, n)
	if _, err := io.ReadFull(r, buf); err != nil {
		return err
	}
	if err := proto.Unmarshal(buf, m); err != nil {
		return fmt.Errorf("unmarshal message: %w", err)
	}
	return nil
}
