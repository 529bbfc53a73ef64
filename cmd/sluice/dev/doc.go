// Package dev is `sluice dev`: a broker (internal/devbroker), a sample shop that writes its change events to it
// (internal/shop), a node with everything, the connector registered through the REST API, and a view of what happens.
// It is the whole product on one screen, and the first thing that a newcomer runs.
//
// All of it lives in one folder (--data): broker/ the records, shop.json the shop, node/ the Raft log and key index, lake/
// the tables. Deleting the folder begins anew.
package dev
