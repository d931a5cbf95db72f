"""Open e-commerce 1.0: purchases of people who were asked whether they share them, and what each of them chose.

The choices are opinions in a study, not legal consent. A purchase arrived when its owner consented and uploaded it,
months or years after it happened; of its time only the day is known.
"""

from __future__ import annotations

NAME = "open_ecommerce"
FILES = ("open_ecommerce/survey.parquet", "open_ecommerce/prescreen.parquet", "open_ecommerce/purchases.parquet")

RELATION = """
with answers as (
    select
        * replace (strptime(recorded_at, '%m/%d/%Y %H:%M:%S') as recorded_at),
        file_row_number as n,
        said('location', '{"country":"United States","region":' || text_value(state) || '}') as location
    from read_parquet(getvariable('folder') || '/open_ecommerce/survey.parquet', file_row_number = true)
),
identified as (
    select
        'open_ecommerce' as source,
        response_id as person,
        n * 2 as seq,
        recorded_at as happened_at,
        null::timestamp as received_at,
        head('identify', '', message_id('open-ecommerce-1.0', 'identify', '', response_id), response_id, null) as head,
        tail('traits',
            concat_ws(',',
                said('age_group', text_value(age_group)),
                said('gender', text_value(gender)),
                said('state', text_value(state)),
                said('education', text_value(education)),
                said('income', text_value(income)),
                said('account_shared_by', text_value(account_shared_by)),
                said('household_size', text_value(household_size)),
                said('order_frequency', text_value(order_frequency))),
            location, 'open-ecommerce-1.0', response_id, ['timestamp:zone']) as tail
    from answers
),
chosen as (
    select
        'open_ecommerce' as source,
        response_id as person,
        n * 2 + 1 as seq,
        recorded_at as happened_at,
        null::timestamp as received_at,
        head('track', 'Segment Consent Preference Updated',
            message_id('open-ecommerce-1.0', 'track', 'Segment Consent Preference Updated', response_id),
            response_id, null) as head,
        tail('properties',
            concat_ws(',',
                said('choice_text', text_value(share_choice)),
                said('incentive', text_value(incentive)),
                said('showdata', yes_no(showdata is not distinct from 'true')),
                said('opinion_sell_my_data', text_value(opinion_sell_my_data)),
                said('opinion_sell_consumer_data', text_value(opinion_sell_consumer_data)),
                said('opinion_small_biz_use', text_value(opinion_small_biz_use)),
                said('opinion_census_use', text_value(opinion_census_use)),
                said('opinion_research_use', text_value(opinion_research_use))),
            concat_ws(',',
                said('consent', '{"categoryPreferences":{"data_sharing":' ||
                    yes_no(share_choice is distinct from 'Decline') || '}}'),
                location),
            'open-ecommerce-1.0', response_id, ['timestamp:zone', 'consent.categoryPreferences']) as tail
    from answers
),
-- Demographics stay as the panel exported them: CONSENT_REVOKED and DATA_EXPIRED are real values.
screened as (
    select
        'open_ecommerce' as source,
        response_id as person,
        100_000_000 + file_row_number as seq,
        strptime(recorded_at, '%Y-%m-%d %H:%M:%S') as happened_at,
        null::timestamp as received_at,
        head('track', 'Prescreen Submitted',
            message_id('open-ecommerce-1.0', 'track', 'Prescreen Submitted', response_id), null, response_id) as head,
        tail('properties',
            concat_ws(',',
                said('version', text_value(version)),
                said('has_amazon_account', text_value(has_amazon_account)),
                said('account_since', text_value(account_since)),
                said('followup_answer', text_value(followup_answer)),
                said('sex', text_value(sex)),
                said('nationality', text_value(nationality)),
                said('student_status', text_value(student_status)),
                said('employment_status', text_value(employment_status)),
                said('age', if(regexp_full_match(age, '[0-9]+'), age::bigint::varchar, text_value(age))),
                said('passed', yes_no(pass_prescreen is not distinct from 'true')),
                said('failed_attention_check', yes_no(failed_attn_check is not distinct from 'true')),
                said('duration_s', number_value(nullif(duration_s, '')))),
            null, 'open-ecommerce-1.0', response_id, ['timestamp:zone', 'anonymousId']) as tail
    from read_parquet(getvariable('folder') || '/open_ecommerce/prescreen.parquet', file_row_number = true)
),
bought as (
    select
        'open_ecommerce' as source,
        purchases.response_id as person,
        200_000_000 + purchases.file_row_number as seq,
        order_date::timestamp as happened_at,
        answers.recorded_at as received_at,
        head('track', 'Product Purchased',
            message_id('open-ecommerce-1.0', 'track', 'Product Purchased', (purchases.file_row_number + 1)::varchar),
            purchases.response_id, null) as head,
        tail('properties',
            concat_ws(',',
                said('product_id', text_value(product_code)),
                said('category', text_value(category)),
                said('price', number_value(price_per_unit_usd)),
                said('quantity', number_value(quantity)),
                said('currency', '"USD"'),
                said('shipping_state', text_value(shipping_state))),
            null, 'open-ecommerce-1.0', (purchases.file_row_number + 1)::varchar, ['timestamp:time-of-day']) as tail
    from read_parquet(getvariable('folder') || '/open_ecommerce/purchases.parquet', file_row_number = true) as purchases
    left join answers using (response_id)
)
select * from identified
union all
select * from chosen
union all
select * from screened
union all
select * from bought
"""
