package coordinator

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// identity remembers on disk which cluster this node's data belongs to. The log says so as well, but only once it has
// been applied, which a node with the wrong seeds must not wait for.
type identity struct {
	mu   sync.Mutex
	path string // empty: in memory, for tests
	id   string
}

const identityFile = "cluster" // in data.dir/raft; holds the cluster's id

func (i *identity) open(dir string) error {
	if dir == "" {
		return nil
	}
	i.path = filepath.Join(dir, identityFile)
	data, err := os.ReadFile(i.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read identity of cluster: %w", err)
	}
	i.id = strings.TrimSpace(string(data))
	return nil
}

func (i *identity) get() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.id
}

func (i *identity) set(id string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.id == id {
		return nil
	}
	i.id = id
	if i.path == "" {
		return nil
	}
	if err := writeSmall(i.path, id); err != nil {
		return fmt.Errorf("write identity of cluster: %w", err)
	}
	return nil
}

// writeSmall replaces a small file so that it is there in full or as it was.
func writeSmall(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

const nodeFile = "node" // in data.dir/raft; holds the node.id whose log and votes these are

// folderOf gives the node whose Raft folder dir is; empty where nothing says so.
func folderOf(dir string) (string, error) {
	data, err := os.ReadFile(filepath.Join(dir, nodeFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read name of node: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

// keepName makes sure that the folder of a member stays that of one node: its votes count for that name only, and Raft would
// not know the log's owner by another one. A node that is not yet part of a cluster may be given another name.
func (c *Coordinator) keepName(dir string) error {
	if dir == "" {
		return nil
	}
	was, err := folderOf(dir)
	if err != nil || was == c.opts.NodeID {
		return err
	}
	formed, err := c.node.Formed()
	if err != nil {
		return err
	}
	if was != "" && formed {
		return &FolderError{Dir: dir, Was: was, Node: c.opts.NodeID}
	}
	if was != "" { // its consent to itself was to that name
		if err := c.vote.withdraw(was); err != nil {
			return err
		}
	}
	if err := writeSmall(filepath.Join(dir, nodeFile), c.opts.NodeID); err != nil {
		return fmt.Errorf("write name of node: %w", err)
	}
	return nil
}

const joiningFile = "joining" // in data.dir/raft, from an empty start until a leader has taken the node in

// joining remembers over restarts that this node came empty. A node of its name may have voted and acknowledged entries before, so
// this one takes no part in elections until a leader has taken it in anew, without a vote: otherwise a write that a majority
// has acknowledged could get lost with one folder.
type joining struct{ path string }

func (j *joining) open(dir string) (bool, error) {
	if dir == "" {
		return false, nil
	}
	j.path = filepath.Join(dir, joiningFile)
	switch _, err := os.Stat(j.path); {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	default:
		return false, fmt.Errorf("look whether this node was joining: %w", err)
	}
}

func (j *joining) begin() error {
	if j.path == "" {
		return nil
	}
	if err := writeSmall(j.path, ""); err != nil {
		return fmt.Errorf("note that this node joins: %w", err)
	}
	return nil
}

func (j *joining) end() error {
	if j.path == "" {
		return nil
	}
	if err := os.Remove(j.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("note that this node has joined: %w", err)
	}
	return nil
}

// FolderError says that a Raft folder is that of another node.
type FolderError struct {
	Dir       string
	Was, Node string // node.id
}

// Error implements error.
func (e *FolderError) Error() string {
	return fmt.Sprintf("%s is the Raft folder of node %s, and node.id is %s now: set node.id to %s (by default it is the host's name), or give this node an empty data.dir of its own",
		e.Dir, e.Was, e.Node, e.Was)
}
