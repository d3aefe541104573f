package sshconfig

import (
	"fmt"
	"strings"
)

// Meant is what to say of a word that isn't one of known: which of them somebody may have meant, or if none is near, otherwise.
func Meant(typed string, known []string, otherwise string) string {
	if near, ok := Nearest(typed, known); ok {
		return fmt.Sprintf("did you mean %s?", near)
	}
	return otherwise
}

// Nearest returns the one of known that differs least from what was typed, if that is no more than slips of the finger make. Case
// doesn't matter.
func Nearest(typed string, known []string) (near string, ok bool) {
	const longest = 64 // a word that nobody has typed by a slip
	if len(typed) > longest {
		return "", false
	}
	least := min(len(typed)/3, 3) + 1
	for _, word := range known {
		if d := slips(strings.ToLower(typed), strings.ToLower(word)); d < least {
			near, least = word, d
		}
	}
	return near, near != ""
}

// slips is how many letters are missing, too many, wrong, or in the place of their neighbour, between two words.
func slips(a, b string) int {
	var before []int
	last := make([]int, len(b)+1) // how many to the beginning of b, from that of a which ends before i
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		now := make([]int, len(b)+1)
		now[0] = i + 1
		for j := range len(b) {
			wrong := 1
			if a[i] == b[j] {
				wrong = 0
			}
			now[j+1] = min(last[j]+wrong, last[j+1]+1, now[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				now[j+1] = min(now[j+1], before[j-1]+1)
			}
		}
		before, last = last, now
	}
	return last[len(b)]
}
