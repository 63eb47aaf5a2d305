"""Properties that must hold whatever the data, and the tests that hold them."""

# ruff: noqa: E501 - tables of claims and prose, one line each
from __future__ import annotations

from typing import Final

_OWN: Final = "validation/test_invariants.py::"
_MIXED: Final = "mixed/test_properties.py::"

#: Property, and its tests below `tests/`; all but those marked "by example" draw their data with Hypothesis.
PROPERTIES: Final = (
    ("order of rows", (f"{_MIXED}test_order_of_rows_and_names_of_groups", "change/test_analysis.py::test_the_order_of_the_sheets_rows_is_no_part_of_the_result")),
    ("order and company of features", (f"{_MIXED}test_company_order_and_copies_of_features",)),
    ("order of genes and biopsies, in normalising", ("test_normalize.py::test_gene_and_biopsy_order_do_not_matter", "expression/test_library_size.py::test_orders_do_not_matter")),
    ("names of participants: no bit", (f"{_MIXED}test_names_of_groups_alone_change_no_bit",)),
    ("levels of a contrast swapped", ("formula/test_contrast.py::test_swapping_the_levels_negates",)),
    ("visits swapped: sign of the change, same p", (f"{_OWN}test_swapped_visits_turn_the_sign_and_keep_the_p",)),
    ("y times k: estimate and SE times k, same df and p", (f"{_MIXED}test_unit_of_the_response", f"{_MIXED}test_a_power_of_two_as_unit_changes_no_bit")),
    ("y plus c: the change stays", (f"{_MIXED}test_a_constant_moves_the_intercept_only",)),
    ("unit of a covariate or dose", (f"{_OWN}test_the_unit_of_a_covariate_rescales_its_own_coefficient_only",)),
    ("unit of area", ("test_normalize.py::test_a_change_of_the_unit_of_area_shifts_every_log_density_alike", f"{_OWN}test_the_order_of_cells_is_no_matter_and_area_only_one_of_density")),
    ("units of concentration and time", (f"{_OWN}test_units_of_concentration_and_time_rescale_exposure", f"{_OWN}test_survival_does_not_depend_on_order_or_unit_of_time")),
    ("all dates moved together", (f"{_OWN}test_all_dates_moved_together_change_no_visit_and_no_pair",)),
    ("a constant feature is no test and moves no other", (f"{_OWN}test_a_constant_feature_is_no_test_and_moves_no_other",)),
    ("a gene without reads changes nothing", ("expression/test_library_size.py::test_an_uncounted_gene_changes_nothing", "normalize/test_size_factors.py::test_orders_and_empty_genes_do_not_matter")),
    ("the cohort twice: same change, smaller SE", (f"{_OWN}test_the_cohort_twice_has_the_same_change_and_a_smaller_error",)),
    ("one library doubled (TMM without weights), all libraries deeper", ("expression/test_library_size.py::test_doubling_a_library_leaves_unweighted_tmm_cpm", f"{_OWN}test_deeper_sequencing_of_all_libraries_leaves_their_factors")),
    ("unpaired participants never change the paired analysis", (f"{_OWN}test_unpaired_participants_never_change_the_paired_analysis",)),
    ("a covariate outside the formula does nothing", (f"{_OWN}test_a_covariate_outside_the_formula_does_nothing",)),
    ("every participant and biopsy ends in one place", ("pairing/test_accounting.py::test_every_participant_and_biopsy_ends_in_one_place",)),
    ("no number without its basis; p in (0, 1], none missing in a family", (f"{_OWN}test_no_number_without_its_basis",)),
    ("positive and negative swapped: sign of the logit", ("test_normalize.py::test_swapping_positive_and_negative_negates_the_logit",)),
    ("adjusted p: never below p, monotone, any order", ("mixed/test_adjust.py::test_properties",)),
    ("exact tests: order, unit, sign, company", ("mixed/test_exact.py::test_order_units_and_company_do_not_matter",)),
    ("scores bounded, bins add up, rise with the stain; order of cells exactly", (f"{_OWN}test_scores_are_bounded_add_up_and_rise_with_the_stain",)),
    ("parts of a slide, and slides of a biopsy, add up to the whole", ("ihc/test_scores.py::test_trap_07_pooled_scores_are_those_of_all_cells_together", "ihc/test_quantify.py::test_pooling_slides_equals_one_slide")),
    ("size of tiles (by example)", ("ihc/test_cells.py::test_the_tile_size_does_not_matter",)),
    ("slide turned or mirrored: H-score within 1 of 300 (by example; not exact, ties of the watershed)", ("ihc/test_nuclei.py::test_turned_and_mirrored_images_give_nearly_the_same",)),
    ("tables written and read back, ids such as 00, NA, 1E5", ("test_tables.py::test_every_table_of_text_comes_back_the_same", "test_tables.py::test_floats_come_back_bit_for_bit", "bad_inputs/test_fuzz.py::test_ids_come_back_as_written")),
    ("any text as formula or contrast is read or refused, never run", ("formula/test_grammar.py::test_random_text_is_read_or_refused", "formula/test_contrast_general.py::test_random_text_is_read_or_refused")),
    ("a printed p is never on the other side of .05; three digits are right", ("plot/test_numbers.py::test_a_written_p_never_changes_side", "plot/test_numbers.py::test_a_written_number_is_right_to_three_digits")),
)  # fmt: skip
