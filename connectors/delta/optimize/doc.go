// Package optimize rewrites data files of Delta tables without changing their rows: small files become large ones, rows that
// deletion vectors delete are left out for good.
//
// Rows keep their order within a bin of files, so a row's new position is the number of live rows before it. That is what
// lets concurrent deletes pass: a row that another writer deletes while its file is being rewritten is found in the new file by
// its rank, and the new file gets a deletion vector for it in the same commit (delta.md §6.4). Concurrent appends never
// matter. Nothing here conflicts with another writer's deletes, updates or appends; two optimizers of one file do, and the
// second one drops its work.
//
// Key types: Plan (which files become which), Bin, Ranks (old position to new).
//
// Goroutines: those of rows.Scan. A failed or lost rewrite leaves files that no version refers to: vacuum removes them. Files
// of a commit whose outcome is unknown are never deleted (D3).
package optimize
