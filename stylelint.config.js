/** Checks the styles of the pages. The @stylistic rules also format them: `stylelint --fix`. */
export default {
  extends: ["stylelint-config-standard", "@stylistic/stylelint-config"],
  rules: {
    "@stylistic/max-line-length": 120,
    "@stylistic/selector-list-comma-newline-after": "always-multi-line",
    // A short rule may stand on one line, right below the rule that it varies.
    "declaration-block-single-line-max-declarations": null,
    "rule-empty-line-before": null,
    // Safari knows these two by the older name alone, or only since 2023.
    "property-no-vendor-prefix": [true, { ignoreProperties: ["text-size-adjust"] }],
    "media-feature-range-notation": "prefix",
    // The file is in the order of the page. Specificity does not decide that order.
    "no-descending-specificity": null,
  },
};
