// Package patches has nothing in it but tests: of the patches beside it, which are ours to golang.org/x/crypto, and of the script that
// applies them. README.md says what they are for.
package patches
