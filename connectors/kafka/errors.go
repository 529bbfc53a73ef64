package kafka

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/IBM/sarama"
)

var (
	// ErrRetentionLoss: the broker has deleted records that were not read yet; its log starts beyond the offset asked for.
	ErrRetentionLoss = errors.New("the broker has deleted records that were not read yet")
	// ErrEndBelow: the partition ends before the offset that was reached already: records were lost or the topic
	// was made anew.
	ErrEndBelow = errors.New("the partition ends before the offset that was reached already")
	// ErrTopicRecreated: the topic has another id than the one that was read before: same name, other records.
	ErrTopicRecreated = errors.New("the topic was deleted and created again")
	// ErrUnknownTopic: the broker has no such topic.
	ErrUnknownTopic = errors.New("the broker has no such topic")
	// ErrAuthorization: the broker refuses access with these credentials.
	ErrAuthorization = errors.New("the broker refuses access")
	// ErrUnreachable: no broker of bootstrap.servers answered in time.
	ErrUnreachable = errors.New("no broker answers")
	// ErrClosed: the Client or Reader was closed.
	ErrClosed = errors.New("closed")
)

// PartitionError says which partition could not be read on, where, and why.
type PartitionError struct {
	Topic     string
	Partition int32
	// Offset is the next one that was wanted; Start and End are what the broker has, -1 where unknown.
	Offset, Start, End int64
	Err                error
}

// Error implements error. It is written for the trace of a task's status, so it says what can be done.
func (e *PartitionError) Error() string {
	where := fmt.Sprintf("%s-%d at offset %d", e.Topic, e.Partition, e.Offset)
	switch {
	case errors.Is(e.Err, ErrRetentionLoss):
		return fmt.Sprintf("%s: %v: the log starts at %d, so %d offsets are missing; "+
			"move the task's offset forward by REST to accept the gap", where, e.Err, e.Start, e.Start-e.Offset)
	case errors.Is(e.Err, ErrEndBelow):
		return fmt.Sprintf("%s: %v: the log ends at %d; was the topic created again, or the broker restored from an older state? "+
			"nothing is read until the connector is pointed at another table or the topic is as it was", where, e.Err, e.End)
	}
	return fmt.Sprintf("%s: %v", where, e.Err)
}

// Unwrap gives the cause.
func (e *PartitionError) Unwrap() error { return e.Err }

// ConfigError says which Kafka property is wrong, what it is and what would be right.
type ConfigError struct {
	Key, Value string
	// Problem is a sentence that ends with the way out.
	Problem string
}

// Error implements error. Values of secret keys are not shown.
func (e *ConfigError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("%s is not set: %s", e.Key, e.Problem)
	}
	return fmt.Sprintf("%s is %q: %s", e.Key, shown(e.Key, e.Value), e.Problem)
}

// shown hides what must not be printed.
func shown(key, value string) string {
	for _, secret := range []string{"password", "jaas", "keystore.key", "ssl.key.pem"} {
		if strings.Contains(key, secret) {
			return "[hidden]"
		}
	}
	return value
}

// retriable tells whether waiting and asking anew may help.
func retriable(err error) bool {
	var k sarama.KError
	if errors.As(err, &k) {
		switch k {
		case sarama.ErrTopicAuthorizationFailed, sarama.ErrGroupAuthorizationFailed, sarama.ErrClusterAuthorizationFailed,
			sarama.ErrSASLAuthenticationFailed, sarama.ErrUnsupportedSASLMechanism, sarama.ErrInvalidTopic,
			sarama.ErrUnsupportedVersion, sarama.ErrInvalidRequest:
			return false
		}
	}
	return true
}

// authorization tells whether err is a refusal of credentials.
func authorization(err error) bool {
	// Is and not As: Sarama wraps the broker's words in a way that hides the code from As.
	return slices.ContainsFunc([]error{
		sarama.ErrTopicAuthorizationFailed, sarama.ErrGroupAuthorizationFailed, sarama.ErrClusterAuthorizationFailed,
		sarama.ErrSASLAuthenticationFailed, sarama.ErrUnsupportedSASLMechanism,
	}, func(refused error) bool { return errors.Is(err, refused) })
}
