//go:build !unix

package relay

// borrower is nobody's here.
type borrower struct{ loan }
