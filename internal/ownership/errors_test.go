package ownership

import (
	"errors"
	"io"
	"testing"
)

func TestErrorf(t *testing.T) {
	err := Errorf(ErrConflict, "node %s is the only one: %w", "n1", io.EOF)
	if err.Error() != "node n1 is the only one: EOF" || !errors.Is(err, ErrConflict) || !errors.Is(err, io.EOF) || errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}
