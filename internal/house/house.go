// Package house holds the rules of the repository's own shape. Its tests enforce them; there is nothing to
// call here.
package house
