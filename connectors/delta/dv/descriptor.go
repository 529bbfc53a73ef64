package dv

import "strconv"

// Storage types of a Descriptor.
const (
	// StorageUUID: PathOrInlineDv is an optional prefix and the Z85 text of the UUID in the file's name.
	StorageUUID = "u"
	// StorageInline: PathOrInlineDv is the Z85 text of the vector itself.
	StorageInline = "i"
	// StoragePath: PathOrInlineDv is an absolute URI.
	StoragePath = "p"
)

// Descriptor says where the deletion vector of a data file is (delta.md §2.2). It is a value: two descriptors are the
// same vector when their UniqueIDs are equal.
type Descriptor struct {
	StorageType    string `json:"storageType"`
	PathOrInlineDv string `json:"pathOrInlineDv"`
	// Offset is where in its file the vector begins; nil for an inline one. Absent means 0 by the protocol, 1 to some
	// readers: writers always give it.
	Offset *int32 `json:"offset,omitempty"`
	// SizeInBytes is the size of the serialised vector, magic included, checksum not.
	SizeInBytes int32 `json:"sizeInBytes"`
	// Cardinality is the number of rows that the vector deletes.
	Cardinality int64 `json:"cardinality"`
}

// UniqueID names the vector within its table: storage type and path, with @offset where there is an offset.
func (d Descriptor) UniqueID() string {
	id := d.StorageType + d.PathOrInlineDv
	if d.Offset != nil {
		id += "@" + strconv.FormatInt(int64(*d.Offset), 10)
	}
	return id
}
