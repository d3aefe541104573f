package config

import (
	"slices"
	"strings"

	"github.com/culvert-ssh/culvert/algorithms"
)

// algorithmKeyword makes the row of a list of algorithms. The default is an empty list: package server chooses among its names by client.
func algorithmKeyword(name string, where where, k *algorithms.Kind, field func(*Settings) *[]string) keyword {
	return keyword{
		name: name, where: where,
		wants:    "names of algorithms with commas between; + before the list adds to the default, - takes away from it, ^ prefers",
		standard: []string{strings.Join(k.Standard, ",")},
		value: one(field, form[[]string]{
			parse: func(list string) ([]string, error) {
				names, err := k.Parse(list)
				if slices.Equal(names, k.Standard) {
					return nil, err
				}
				return names, err
			},
			show: func(names []string) string {
				if len(names) == 0 {
					names = k.Standard
				}
				return strings.Join(names, ",")
			},
		}),
		remarks: func(words []string) []string { return k.Remarks(words[0]) },
	}
}
