module github.com/cstproxy/cstproxy/deploy/check/contain

go 1.26.0
