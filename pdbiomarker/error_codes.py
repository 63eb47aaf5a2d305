"""Every code of a problem and what it means, by area; :mod:`pdbiomarker.errors` tells them."""

from __future__ import annotations

from typing import Final

__all__ = ["CATALOGUE"]

#: Every code: what it means, in one line. The message of a problem adds the value and the remedy.
CATALOGUE: Final[dict[str, str]] = {}


def _catalogue(area: str, entries: dict[int, str]) -> None:
    CATALOGUE.update({f"E-{area}-{number:03d}": text for number, text in entries.items()})


_catalogue(
    "FILE",
    {
        1: "A file that is named does not exist.",
        2: "A path is not a regular file.",
        3: "A file is not text in UTF-8.",
        4: "A file is empty.",
        5: "A file is not what its name says.",
        6: "A path leads outside the study folder.",
    },
)
_catalogue(
    "SHEET",
    {
        1: "A required column is missing.",
        2: "Two columns have the same name.",
        3: "A row has more or fewer fields than the header.",
        4: "An id is missing.",
        5: "An id occurs twice.",
        6: "An id refers to nothing.",
        7: "A value is not of the column's type.",
        8: "A value is outside its range.",
        9: "Two ids differ only in case, spaces or look-alike characters.",
        10: "An id holds a control character.",
        11: "A sheet has a header and no rows.",
        12: "A date is not an ISO 8601 date.",
        13: "Collection date and study day contradict each other.",
        14: "A date lies after the data cut-off.",
        15: "A fact of the participant changes within the participant.",
        16: "A row is given twice.",
        17: "A value that must be known is missing.",
        18: "A column has no name.",
        19: "A line or sheet is not part of the table.",
        290: "Values that are declared as intensities look like logarithms.",
    },
)
_catalogue(
    "STUDY",
    {
        1: "A key of study.yaml is unknown, missing or of the wrong type.",
        2: "YAML that cannot be read safely: a duplicate key, a tag, an alias, or nesting too deep.",
        3: "Visit windows overlap or are empty.",
        4: "A visit is not among those of study.yaml.",
        5: "Batch and visit cannot be told apart.",
        10: "The name of a visit and its day contradict each other.",
        11: "The date of a biopsy is partial.",
        12: "Two rows may be one biopsy.",
        13: "A biopsy is unscheduled.",
        15: "A file of a new study folder is there already.",
        80: "The version of study.yaml is none that can be read.",
        81: "study.yaml is of an earlier version, and was read as one of the present version.",
        290: "Slides are listed, and no assay of study.yaml measures slides.",
    },
)
_catalogue(
    "PLAN",
    {
        1: "A key of plan.yaml is unknown, missing or of the wrong type.",
        2: "A contrast does not name visits of the study.",
        3: "A family names an assay or feature that does not exist.",
        4: "Rows below the biopsy without a biopsy-level term.",
        10: "An intercurrent event names a column that the sheets do not have.",
        11: "A value of an intercurrent event cannot be read.",
        12: "A column looks like an intercurrent event that has no declared strategy.",
        13: "The keys of an intercurrent event do not fit together.",
        14: "An intercurrent event lies between baseline and the biopsy.",
        290: "A primary feature has no value, or none at a visit that is compared.",
    },
)
_catalogue(
    "LOCK",
    {
        1: "The lock of a plan cannot be read.",
        2: "The lock of a plan was edited.",
        3: "The lock is another study's.",
        4: "The plan is locked already.",
        5: "A date of the lock cannot be used.",
        6: "The plan deviates from its lock, or was never locked.",
    },
)
_catalogue(
    "FORMULA",
    {
        1: "The formula cannot be read at this position.",
        2: "The formula uses a function that is not allowed.",
        3: "The formula names a column that does not exist.",
        4: "The formula expands to too many terms.",
        5: "A function or contrast does not fit the column.",
        6: "A random-effect term that this version does not fit.",
    },
)
_catalogue(
    "PAIR",
    {
        1: "An on-treatment biopsy lies before the first dose.",
        2: "A biopsy is in no visit window.",
        3: "A day-1 biopsy has no time: before or after the first dose is unknown.",
        4: "The visit named in the sheet and the study day contradict each other.",
        5: "A biopsy is not adequate.",
        6: "Another biopsy of the same visit was chosen.",
        7: "The participant has no biopsy at the other visit.",
        8: "The biopsy was not measured in this assay.",
        9: "The biopsy has neither a visit, a study day nor a date.",
        10: "Archival tissue is not used as baseline.",
        11: "Archival tissue is older than the study wants it to be.",
        12: "A partial date leaves the visit of a biopsy open.",
        13: "No tumour is left, and a blinded reader documented a regression bed.",
        14: "A biopsy was taken after the data cut-off.",
        15: "The biopsies of a pair are not of one lesion, or are of a lymph node.",
        16: "The participant did not consent to biopsies.",
    },
)
_catalogue(
    "OVERRIDE",
    {
        1: "An override names an item that does not exist.",
        2: "An override asks for what cannot be done with its item.",
        3: "An override does not say why, who or when.",
        4: "Two overrides repeat or contradict each other.",
        5: "The item of an override may be two things.",
        6: "An override would put a biopsy from before the first dose on treatment.",
        10: "A reviewer left the item out.",
        11: "A reviewer judged whether the biopsy is adequate.",
        12: "A reviewer gave the biopsy its visit.",
    },
)
_catalogue(
    "COUNT",
    {
        1: "A count is text.",
        2: "A count is negative.",
        3: "A count is fractional.",
        4: "A count is missing or infinite.",
        5: "A feature occurs twice.",
        6: "A library occurs twice.",
        7: "A library that no biopsy claims.",
        8: "A library that a sheet names is not in the matrix.",
        9: "A library without any count.",
        10: "The matrix looks transposed.",
        11: "A row that summarises others, not a feature.",
        12: "A feature has no name.",
        13: "A feature name that a spreadsheet turned into a date.",
        14: "A library with far fewer counts than the others.",
        15: "Two libraries are identical.",
        16: "The counts look scaled, not raw.",
        17: "Features without a symbol in the genes table.",
        18: "A gene of a signature is not in the matrix.",
        30: "Libraries cannot be scaled by the rule that was asked for.",
        31: "Gene ids are outdated symbols or aliases.",
        33: "The format of a count file is unknown or contradicts its content.",
        35: "The columns are shifted against the header.",
        36: "Transcripts or genes that the mapping table does not name.",
        37: "The values are already normalised.",
        38: "Gene ids are of several kinds, or were merged.",
        40: "A library looks like another participant's, or its sex contradicts the record.",
    },
)
_catalogue(
    "VALUE",
    {
        280: "The laboratory's quality control warns of a sample or a protein.",
        281: "A file of values has no limits of detection.",
    },
)
_catalogue(
    "LANE",
    {
        1: "An RCC file cannot be read, or is cut short.",
        2: "A lane was measured with another code set than the others.",
        3: "Too few fields of view were counted.",
        4: "The binding density is out of range.",
        5: "The positive controls are missing, or not linear.",
        6: "The weakest positive control is not above the limit of detection.",
        7: "The factor of a control or of the housekeeping genes is out of range.",
        8: "Housekeeping genes are missing, or too weak to scale by.",
        9: "One lane is unlike the others: it is not normalised as they are.",
        10: "Two files hold the same lane.",
    },
)
_catalogue(
    "CELL",
    {
        1: "A single-cell file cannot be read, or takes data from another file.",
        2: "The sparse matrix of a single-cell file is damaged: its pointers or column numbers do not fit.",
        3: "The values of a single-cell file are not raw counts.",
        4: "A single-cell file lacks the column that names biopsies or cell types.",
        5: "Cells of a biopsy that the study does not know.",
        6: "Too few cells of a type in a biopsy.",
        7: "Cells that fail quality control.",
    },
)
_catalogue(
    "SLIDE",
    {
        1: "The slide file cannot be read.",
        2: "The slide file is cut short or damaged.",
        3: "The size of a pixel is known neither from the file nor from the sheet.",
        4: "File and sheet disagree on the size of a pixel by more than 2 %.",
        5: "The image is not 8-bit RGB brightfield.",
        6: "The image claims more pixels or bytes than are plausible.",
        7: "No tissue was found on the slide.",
        8: "The white of the glass is out of range.",
        9: "A score needs tumour regions or classes that are missing.",
        10: "The size of a pixel is implausible or differs between x and y.",
        11: "Two slides have the same content.",
        12: "Part of the image has no data.",
        13: "The colours are not those of haematoxylin and DAB.",
        14: "The slide looks out of focus.",
        20: "The reader of the slide's format is not installed.",
        21: "The slide's scanner or batch has no calibration in the panel.",
        22: "Part of the tissue is out of focus, folded, or under ink, and is left out.",
        23: "Stain vectors or a calibration cannot be estimated from these slides.",
    },
)
_catalogue(
    "REGION",
    {
        1: "A GeoJSON file cannot be read.",
        2: "A polygon is invalid.",
        3: "A polygon lies outside the slide.",
        4: "Regions of one compartment overlap; their area counts once.",
        5: "The class of a region stands for no compartment.",
        6: "A mask of compartments cannot be used.",
    },
)
_catalogue(
    "CELLS",
    {
        1: "An export holds neither cells nor counts that can be read.",
        2: "The unit of a column is neither in its name nor declared.",
        3: "An export in pixels needs the size of a pixel.",
        4: "A class is not known.",
        5: "Cells without a call and a measurement are left out.",
        6: "Counts, shares or scores of a row contradict each other.",
        7: "A slide belongs to no biopsy, or to two.",
        8: "The class of a cell and its call contradict each other.",
        9: "The export's calls differ from the panel's threshold.",
    },
)
_catalogue(
    "PANEL",
    {
        1: "A key of a panel file is unknown, missing or of the wrong type.",
        2: "No panel of that name.",
        3: "A segmenter breaks its contract.",
    },
)
_catalogue(
    "ASSAY",
    {
        1: "A matrix offered as an assay breaks the contract of an assay.",
        2: "An h5ad file cannot be read.",
    },
)
_catalogue(
    "CLIN",
    {
        1: "A file of clinical/ is not one of the clinical sheets.",
        2: "A word is not among those of the column.",
        3: "A clinical record is given twice.",
        4: "A value that another column makes necessary is missing.",
        5: "A unit is not known, or is not one of this column.",
        6: "An end lies before its start.",
        7: "A date after the data cut-off is set aside.",
        8: "A date is partial.",
        9: "A concentration is neither a number nor a text for below the limit.",
        20: "A table to be reconciled lacks a column.",
        21: "A record of a table to be reconciled occurs twice.",
        30: "A sample has no time from the first dose, or a dose no whole date: it is left out.",
        40: "A part of the clinical tables could not be made.",
        41: "Of several analytes or specimens, one is joined to the biopsies.",
        42: "A column may not enter a model of the biopsy: it was not known when that was taken.",
        43: "The joined table was asked for a contrast or a feature that the result does not have.",
        44: "A time of the clinical tables had to be assumed.",
    },
)
_catalogue(
    "PK",
    {
        1: "A table of concentrations or doses lacks a column, or holds a value of the wrong type.",
        2: "A concentration is negative.",
        3: "Two samples of a participant have the same time.",
        4: "A participant with concentrations has no dose.",
        5: "A dose is not positive, has no unit, or its duration is negative.",
        6: "A unit is not known, or cannot be converted into another.",
        7: "A dose per body weight needs the participant's weight.",
        8: "An option of a pharmacokinetic analysis is unknown or out of its range.",
        10: "A time or interval is outside what was measured.",
        11: "Several analytes or specimens stand in one table.",
    },
)
_catalogue(
    "CDISC",
    {
        1: "A file of a dataset is damaged, cut short, or not what its name says.",
        2: "A Dataset-JSON document breaks its standard.",
        3: "It cannot be told which dataset a file is, or two files are the same one.",
        4: "A variable that is needed is missing.",
        5: "Several readers assessed, and none was chosen, or one that does not exist.",
        6: "A record is given twice.",
        7: "A value is not one of those that the variable may have.",
        8: "The genealogy of specimens does not hold together.",
        9: "A date is partial, or cannot be read.",
        10: "A transport file cannot hold a name, a label, a text or a number.",
        11: "A dataset breaks a rule of analysis datasets.",
        15: "Something of an import was not taken.",
    },
)
_catalogue(
    "SIM",
    {
        1: "An option of a simulated trial is out of its range.",
        2: "The folder for a simulated study is not empty.",
    },
)
_catalogue(
    "RESULT",
    {
        1: "A result holds no such feature, contrast, set or assay.",
        2: "A figure cannot hold what was asked for.",
    },
)
_catalogue(
    "MODEL",
    {
        1: "The shapes of responses, design, groups, weights or contrasts do not fit together.",
        2: "A value given to the mixed model is infinite, missing or not a number where it must be known.",
        3: "A precision weight is negative.",
        4: "An observation has no group.",
        5: "The method for the degrees of freedom is unknown.",
        6: "Residual variances cannot be moderated: they, or their degrees of freedom, are not usable.",
        7: "The data do not tell the correlation within groups, or none is possible of that size.",
        20: "A count is negative, not whole, too large, or above its total.",
        21: "A censoring indicator is not -1, 0 or 1.",
        30: "An option of a permutation test, a bootstrap or an adjustment is unknown or out of its range.",
    },
)
_catalogue(
    "NOISE",
    {
        1: "A value, a level, a label or an option given to an estimate of noise cannot be used.",
        2: "Nothing is replicated, so noise cannot be estimated.",
        3: "No noise of that feature can be borrowed on that scale.",
        4: "A key of a file of borrowed noise is unknown, missing or of the wrong type.",
    },
)
_catalogue(
    "RULE",
    {
        1: "A key of a decision rule is unknown, missing or of the wrong type.",
        2: "No decision rule of that name.",
        3: "A rule, or what it is given, does not fit together.",
        4: "An option of a plan for power or enrolment is out of its range.",
        10: "A file that the plan's decisions name lies outside the study folder.",
        11: "Values beyond a limit meet random terms that their model does not have.",
    },
)
_catalogue(
    "RESP",
    {
        1: "A column that an assessment of response needs is missing.",
        2: "A role, state or response is none of those that are known.",
        3: "A diameter is missing, negative or no number.",
        4: "Several readers assessed the same participants, and none or an unknown one was chosen.",
        5: "An assessment or a lesion is recorded twice.",
        6: "A response is dated before the first dose.",
        7: "A partial response follows a complete one.",
        8: "A rule for response is out of its range.",
        9: "An assessment names a participant who is not enrolled.",
        10: "Lesions without a baseline: change cannot be told.",
        11: "A target lesion was not measured at baseline.",
        12: "The order of assessments cannot be told from their partial dates.",
        13: "Assessments lie after the data cut-off.",
        14: "A target lesion is smaller at baseline than can be measured.",
        15: "The response recorded and the response computed from lesions differ.",
    },
)
_catalogue(
    "SURV",
    {
        1: "A column that a time to event needs is missing.",
        2: "A rule for events and censoring is unknown or out of its range.",
        3: "A first dose has no complete date.",
        4: "A death is dated before the first dose.",
        5: "An assessment or a contact is dated after death.",
        6: "A time or an event indicator given to an estimate cannot be used.",
        7: "A covariate is missing or does not vary.",
        8: "A date lies after the data cut-off.",
        9: "A participant occurs twice in a table of outcomes, or is not enrolled.",
        10: "A sheet that the outcomes need was not given.",
        11: "Missed assessments cannot be told: no schedule is given.",
    },
)
_catalogue(
    "LINK",
    {
        1: "A result holds no such feature or contrast to relate.",
        2: "An exposure, a response or an outcome cannot be used.",
        3: "Survival by an on-treatment change from before its biopsy: immortal time.",
        4: "A pair of features to compare cannot be read.",
    },
)
_catalogue(
    "RUN",
    {
        1: "The folder was made with another plan, study or package version.",
        2: "Another run is using the folder.",
        3: "A file differs from the manifest.",
        4: "Not enough free disk space.",
        5: "A worker was killed or ran out of time.",
        6: "The folder exists and is not a results folder.",
        7: "The PDF of the report could not be printed.",
        8: "The report knows no such format.",
        9: "Two results folders are not of one study.",
        35: "A format of the report could not be written; the others were.",
        36: "The earlier results to compare with are those of the run itself.",
        40: "The check of the study is missing, or its inputs changed since.",
        41: "A step that this one builds on is not complete.",
        42: "There is no such batch of slides.",
        43: "The file system cannot lock files.",
        44: "The path of a folder holds what Snakemake would read as a wildcard or a command.",
        50: "A run on another host has not let go of the folder.",
        51: "The results folder has lost its records of what is complete.",
        52: "A kept machine-code file was damaged and is made again.",
        60: "A file of a results folder is not in its manifest.",
        61: "A run cannot be repeated: its study or its way is not known.",
        62: "Another run from the same inputs gives other bytes.",
        63: "What a repeated run may depend on has changed.",
        80: "An input was changed while the run was at work.",
    },
)
_catalogue(
    "AUDIT",
    {
        1: "A line of the audit log was edited, removed, or is no record.",
        2: "The audit log is cut short, missing, or does not name the manifest.",
        3: "A sign-off is of another state of the folder, or cannot be read.",
        4: "A name, role or meaning to be recorded cannot be used.",
    },
)
_catalogue(
    "PHI",
    {
        1: "A slide of this format cannot be freed of what names a person.",
        2: "A slide holds what may name a person.",
        3: "A copy of a slide still holds what may name a person.",
        4: "The place for copies of slides, or for their names, cannot be used.",
    },
)
_catalogue(
    "DOSE",
    {
        1: "An outcome string of a dose escalation cannot be read at this position.",
        2: "A cohort names a dose level that the trial does not have.",
        3: "A design of dose escalation, or one of its options, is unknown or out of its range.",
        4: "A 3+3 escalation did not follow its rules.",
        5: "Dose levels or cohorts cannot be formed from the study's tables.",
    },
)
_catalogue(
    "REF",
    {
        80: "No reference file, or several, of a name.",
    },
)
_catalogue(
    "TERM",
    {
        1: "A word is none of the codes, columns and words that are explained.",
    },
)
_catalogue(
    "AE",
    {
        1: "An adverse event has a grade other than 1 to 5.",
        2: "An adverse event ends before it starts.",
        3: "An option of the safety tables is out of its range.",
        4: "Safety tables need a first dose or a dose level that is missing.",
    },
)
_catalogue(
    "ADA",
    {
        1: "The steps of one antibody sample contradict each other.",
        2: "A titre cannot be read, or its scale is not stated.",
        3: "An option of the antibody tables is out of its range, or its unit is another.",
        4: "An antibody sample has no place in time.",
        5: "A result or step of the antibody assay is not known.",
    },
)
