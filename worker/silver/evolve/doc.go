// Package evolve decides what the columns of a silver table are: how a source's column is called in the table, which type
// it has after one more event, and what becomes of a value that does not fit (D6: it goes to _rescued_data as JSON).
//
// It is pure: it changes its own picture of the schema and says what changed; the merge commits it with the rows. Types
// follow the events in the order in which they arrive, so that the cut into batches does not show (D7).
//
// Key types: Columns (the table's source columns), Plan (how one Shape's values go into them), Policy (schema.evolution.*).
package evolve
