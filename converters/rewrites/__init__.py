"""Operations that a format lacks, composed of others: `table` has them all, `function` puts them into a trace."""
