// Package consul is a module of its own for one program that tests run: a real agent of
// Consul, built from the sources that the Go module proxy has. Nothing that ships
// depends on it. `tools/parts test` builds it.
package consul
