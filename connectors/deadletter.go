package connectors

// Stage is where on its way a record became a dead letter.
type Stage string

const (
	StageDecode    Stage = "decode"
	StageTransform Stage = "transform"
	StageApply     Stage = "apply"
)

// DeadLetter is a record that could not be decoded, transformed or applied, kept with its bytes and the reason (D6).
// (topic, partition, offset, stage) names it.
type DeadLetter struct {
	Record    *Record
	Connector string
	Stage     Stage
	Class     string // one of the Class constants
	Reason    string
}
